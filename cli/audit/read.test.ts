import path from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { readFile, rm, writeFile } from "node:fs/promises";
import { Caller } from "../../bus-schemas/index.ts";
import { decided, ended, hop } from "../../test/kit/recorded-jobs.ts";
import { BEGAN_MS, startLog, type RecordedLog } from "../../test/kit/recorded-log.ts";
import { tempDir, type TempDir } from "../../test/kit/temp-dir.ts";
import { proveNoEgress } from "./prove.ts";
import { query, reindex, stats, trace } from "./read.ts";
import { verify } from "./verify.ts";
import { moment } from "./when.ts";

let dir: TempDir;
let log: RecordedLog;
let said: string;

beforeEach(async () => {
  dir = tempDir("tiermesh-read-");
  log = await startLog(dir.path);
  said = "";
  vi.spyOn(process.stdout, "write").mockImplementation((text) => {
    said += String(text);
    return true;
  });
  vi.spyOn(process.stderr, "write").mockImplementation(() => true);
  const job = "job-of-a-story";
  const about = { dataClass: "P1" } as const;
  await log.record("class_mismatch", { job_id: job, header: "P2", body: "P1", security_level: "P1" }, about);
  const target = { place: "local", jurisdiction: "CN", model_digest: `sha256:${"a8".repeat(32)}` } as const;
  const caller = Caller.parse({ id: "crm", kind: "service", on_behalf_of: [{ id: "alice" }] });
  await log.record("job_decided", { ...decided(job, "gpu-1", "L1", { target }), caller, waited_ms: 1500 }, about);
  await log.record("job_redispatched", hop(job, "gpu-1", "gpu-2"), about);
  const commitments = { salt_from: "node", answer_hmac: `hmac-sha256:${"9f".repeat(32)}` } as const;
  await log.record(
    "job_ended",
    { ...ended(job, "gpu-2", "L1"), cost: { amount: 0.01, currency: "EUR" }, commitments },
    about,
  );
  await log.record("job_ended", ended("job-of-another", null, null, "refused"));
  await log.cover();
});
afterEach(async () => {
  vi.restoreAllMocks();
  await log.close();
  await dir.remove();
});

const offline = () => ({ offline: dir.path, key: path.join(dir.path, "log-key.pub") });

test("a job's story tells the class, the decision with who was not taken and why, the hop, and the ending with what it took", async () => {
  await trace("job-of-a-story", offline());
  const told = said.split("\n");
  expect(told[0]).toBe("job job-of-a-story, class P1: finished");
  const inOrder = [
    "declared as “P2” in the header and “P1” in the body: handled as P1  [router/r1 #1]",
    "had waited 1.5 s in the router",
    "decided: gpu-1 (L1), model qwen3:14b, in the house, CN, digest sha256:a8a8a8a8a8a8…",
    "for service crm, on behalf of user alice, as its client says",
    "vram: needs 12 GB, has 8 GB",
    "policy 3-0a1b2c3d4e5f",
    "gpu-1 does not run it: the node is gone (node_lost)",
    "goes on at gpu-2, try 2",
    "finished on gpu-2 (L1), qwen3:14b",
    "90 tokens read, 210 written · queued 2 ms, first token after 210 ms, 1.4 s in all · 0.250 Wh · 0.01 EUR",
    "commits to answer 9f9f9f9f9f9f…; its caller was handed the salt",
  ];
  let from = 0;
  for (const text of inOrder) {
    expect(said.slice(from)).toContain(text);
    from = said.indexOf(text, from);
  }
});

test("as JSON the story has the entries themselves, the nodes in their order, and what it took", async () => {
  await trace("job-of-a-story", { ...offline(), json: true });
  expect(JSON.parse(said)).toMatchObject({
    status: "finished",
    nodes: ["gpu-1", "gpu-2"],
    node_id: "gpu-2",
    energy_wh: 0.25,
    cost: { amount: 0.01, currency: "EUR" },
    caller: { id: "crm", on_behalf_of: [{ id: "alice" }] },
    entries: [{ sequence: 1 }, { sequence: 2 }, { sequence: 3 }, { sequence: 4 }],
  });
});

test("an unknown job is an error that says when to look again; what a terminal could be steered by is shown as ?", async () => {
  await expect(trace("job-unknown", offline())).rejects.toMatchObject({ code: "not_found" });
  const evil = {
    ...hop("job-evil-1", "a", null),
    error: { code: "node_lost", message: "\u001b[2J gone", retryable: true },
  };
  await log.record("job_redispatched", evil as never);
  await log.cover();
  await trace("job-evil-1", offline());
  expect(said).toContain("?[2J gone");
  expect(said).not.toContain("\u001b");
});

test("a copy without an index, and the auditor's folder with one, are searched alike", async () => {
  const ask = async () => {
    said = "";
    await query({ ...offline(), class: "P1", until: BEGAN_MS + 3500, limit: 10, json: true });
    return said;
  };
  const without = await ask();
  expect(
    without
      .trim()
      .split("\n")
      .map((line) => (JSON.parse(line) as { sequence: number }).sequence),
  ).toEqual([1, 2, 3]);
  reindex(offline());
  expect(said).toMatch(/search\.db: 5 entries in/);
  expect(await ask()).toBe(without);
  await log.record("job_ended", ended("job-later", "gpu-2", "L1"));
  await log.cover();
  said = "";
  await stats({ ...offline(), json: true });
  expect(JSON.parse(said)).toMatchObject({ entries: 6, endings: { finished: 2, refused: 1 }, cost: { EUR: 0.01 } });
  await rm(path.join(dir.path, "search.db"));
  said = "";
  await stats(offline());
  expect(said).toContain("6 entries about 3 jobs");
});

test("a proof is a file, is told in a sentence, and is computed again by verify; a touched one ends with 1", async () => {
  const file = path.join(dir.path, "proof.json");
  await proveNoEgress({ ...offline(), to: BEGAN_MS + 60_000, out: file });
  expect(said).toContain("no P0 job went to a cloud from 1970-01-01T00:00:00.000Z");
  said = "";
  verify({ ...offline(), checkpoint: [], proof: file });
  expect([process.exitCode ?? 0, said]).toEqual([0, expect.stringContaining("the same comes from the tiles")]);
  await writeFile(file, (await readFile(file, "utf8")).replace('"in_range": 5', '"in_range": 4'));
  said = "";
  verify({ ...offline(), checkpoint: [], proof: file });
  expect([process.exitCode, said]).toEqual([1, expect.stringContaining("counts differ")]);
  process.exitCode = 0;
  await expect(proveNoEgress({ ...offline(), from: 2e12, to: 1e12 })).rejects.toThrow("--to: must be after --from");
  expect(() => verify({ ...offline(), checkpoint: [], proof: path.join(dir.path, "log-key.pub") })).toThrow(
    /not a proof/,
  );
});

test("moments are dates, times with a zone, or so long ago; anything else is told", () => {
  const now = Date.UTC(2026, 10, 26, 12);
  expect(moment("2h", now)).toBe(Date.UTC(2026, 10, 26, 10));
  expect(moment("7d", now)).toBe(Date.UTC(2026, 10, 19, 12));
  expect(moment("2026-11-26")).toBe(Date.UTC(2026, 10, 26));
  expect(moment("2026-11-26T16:00+08:00")).toBe(Date.UTC(2026, 10, 26, 8));
  for (const bad of ["", "yesterday", "2026-13-01", "2026-11-26T16:00", "5y", "-1h", "1999-01-01"])
    expect(() => moment(bad)).toThrow(/a time such as/);
});
