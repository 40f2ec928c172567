import { writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, expect, test } from "vitest";
import { RoutingConfig, type AuditEntry } from "../../bus-schemas/index.ts";
import { compilePolicy } from "../../router/policy/policy.ts";
import { decideRecorded } from "../../router/policy/record-inputs.ts";
import { textSha256 } from "../../service/routing-config.ts";
import { NOW_MS, fleetOf, nodeRecord, routeRequest, seeded } from "../../test/kit/routing.ts";
import { tempDir } from "../../test/kit/temp-dir.ts";
import { entriesIn } from "./log-files.ts";
import { PolicyTexts, textOf } from "./policy-texts.ts";
import { holdsDecision, replayEntry } from "./replay-entry.ts";

const folder = tempDir();
afterAll(() => folder.remove());

const TEXT = "# the policy of then\n";
const SHA256 = textSha256(TEXT);
const REVISION = `3@${SHA256.slice(0, 12)}`;
const JOB = "job-00000001";

/** As the auditor writes it. */
function decided(change: (data: Data) => void = () => undefined): AuditEntry {
  const policy = compilePolicy(RoutingConfig.parse({}), REVISION, SHA256);
  const fleet = fleetOf(nodeRecord(), nodeRecord({ node_id: "n2", cost_factor: 2 }));
  const made = decideRecorded(routeRequest({ jobId: JOB }), fleet, policy, NOW_MS, seeded(1), "0.0.1");
  const sizes = { request_bytes: 40, prompt_tokens_estimate: 12 };
  const data = structuredClone({ job_id: JOB, attempt: 1, ...made, sizes });
  change(data);
  return entry("job_decided", JSON.parse(JSON.stringify(data)));
}
type Data = { job_id: string } & ReturnType<typeof decideRecorded>;

function entry(type: AuditEntry["type"], data: unknown): AuditEntry {
  const job_id = (data as { job_id?: string }).job_id ?? null;
  const about = { id: "e", source: "router/r1", time: "2026-11-23T12:00:00Z", security_level: null, traceparent: null };
  return { sequence: 7, stream_sequence: 7, job_id, ...about, type, data };
}

const changed = entry("policy_changed", {
  policy_revision: REVISION,
  previous_revision: null,
  by: "ann",
  note: null,
  text_sha256: SHA256,
  text: TEXT,
});

const known = () => new PolicyTexts([async () => [TEXT]]);

test("a record and the text of its policy are enough", async () => {
  expect(await replayEntry(decided(), known())).toMatchObject({
    state: "same",
    job_id: JOB,
    policy_revision: REVISION,
    software: "0.0.1",
    candidates: 2,
    whole: true,
    differences: [],
    error: null,
  });
});

test("what differs is told by its place, with both values", async () => {
  const faster = await replayEntry(
    decided(({ inputs }) => {
      for (const node of inputs.nodes) for (const model of node.models) model.ms_per_token = 1;
      for (const node of inputs.nodes) node.rtt_ms = 500;
    }),
    known(),
  );
  expect(faster.state).toBe("different");
  expect(faster.differences.map(({ path: at }) => at)).toContain("score.predicted_ms");
  const renamed = await replayEntry(
    decided(({ decision }) => (decision.policy_revision = "4@0123456789ab")),
    known(),
  );
  expect(renamed.differences).toEqual([
    { path: "policy_revision", recorded: "4@0123456789ab", replayed: SHA256.slice(0, 12) },
  ]);
  const moved = { ...decided(), job_id: "job-00000002" };
  expect((await replayEntry(moved, known())).differences).toMatchObject([{ path: "job_id" }]);
});

test.each([
  ["an unknown version", (data: Data) => Object.assign(data.inputs, { version: 2 }), "inputs.version"],
  ["no inputs", (data: Data) => Object.assign(data, { inputs: null }), "older than they are"],
  ["a decision that is none", (data: Data) => Object.assign(data, { decision: 7 }), "expected object"],
  ["a policy that nobody has", (data: Data) => (data.inputs.policy_sha256 = "0".repeat(64)), "--policy FILE"],
  ["a policy without a text", (data: Data) => (data.inputs.policy_sha256 = null), "--policy FILE"],
])("%s is told, not thrown", async (_name, change, words) => {
  const report = await replayEntry(
    decided((data) => void change(data)),
    known(),
  );
  expect(report).toMatchObject({ state: "not_replayable", differences: [] });
  expect(["bad_request", "not_found"]).toContain(report.error?.code);
  expect(report.error?.message).toContain(words);
});

test("a text is believed only for its own hash, and later sources are asked only when they must be", async () => {
  const asked: string[] = [];
  const source =
    (name: string, ...texts: string[]) =>
    async () => {
      asked.push(name);
      return texts;
    };
  const texts = new PolicyTexts([source("files", "# another\n"), source("log", TEXT), source("bus")]);
  expect((await texts.find(SHA256))?.textSha256).toBe(SHA256);
  expect(asked).toEqual(["files", "log"]);
  expect(await texts.find("0".repeat(64))).toBeUndefined();
  expect(asked).toEqual(["files", "log", "bus"]);
});

test("a second try is a decision too, a text of a policy is in the entry of its change", () => {
  expect(holdsDecision(decided())).toBe(true);
  expect(holdsDecision(entry("job_redispatched", { decision: {} }))).toBe(true);
  for (const data of [{ decision: null }, {}, null, 7]) {
    expect(holdsDecision({ type: "job_redispatched", data })).toBe(false);
  }
  expect([textOf(changed), textOf(decided()), textOf({ ...changed, data: null })]).toEqual([
    TEXT,
    undefined,
    undefined,
  ]);
});

test("a log on disk is read as the auditor left it, one file or all; what is none is named by file and line", async () => {
  const segment = path.join(folder.path, "segment-000001.jsonl");
  const header = { segment: 1, first_sequence: 1, stream_created: "x", after_stream_sequence: 0 };
  const rejected = {
    sequence: 8,
    stream_sequence: 8,
    job_id: null,
    rejected: { subject: "s", size_bytes: 1, reason: "r" },
  };
  writeFileSync(segment, [header, changed, decided(), rejected].map((line) => `${JSON.stringify(line)}\n`).join(""));
  for (const place of [segment, folder.path]) {
    expect((await Array.fromAsync(entriesIn(place))).map(({ type }) => type)).toEqual([
      "policy_changed",
      "job_decided",
    ]);
  }
  const problem = (place: string) => Array.fromAsync(entriesIn(place)).catch((error: unknown) => error);
  const torn = path.join(folder.path, "torn.txt");
  writeFileSync(torn, `${JSON.stringify(changed)}\n{"sequence":`);
  expect(await problem(torn)).toMatchObject({
    code: "bad_request",
    message: expect.stringMatching(/torn\.txt:2: not JSON/),
  });
  writeFileSync(torn, '{"type":"job_decided"}\n');
  expect(await problem(torn)).toMatchObject({ message: expect.stringMatching(/torn\.txt:1: not an entry/) });
  expect(await problem(path.join(folder.path, "nowhere"))).toMatchObject({ code: "bad_request" });
});
