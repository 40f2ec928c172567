import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import OpenAI from "openai";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { AuditEntry } from "../../bus-schemas/index.ts";
import { connectBus, type Bus } from "../../service/bus.ts";
import { createLog } from "../../service/log.ts";
import { SaltKeeper } from "../../service/salts.ts";
import { startMesh, type TestMesh } from "../kit/mesh.ts";
import { waitFor } from "../kit/wait-for.ts";

/** What a caller asked and was answered, found again in the record by who has the salt, and by nobody else. */

const QUESTION = "how many zebras live in the cellar?";
const CALLER = "alice@example.com";

let mesh: TestMesh;
let bus: Bus;
/** Every byte of every event that went over the bus, headers included. */
let wiretap = "";

beforeAll(async () => {
  mesh = await startMesh();
  bus = await connectBus("wiretap", mesh.address, createLog("test", "silent"));
  bus.listen(bus.subjects.events, (msg) => {
    const headers = [...(msg.headers?.keys() ?? [])].map((key) => `${key}: ${msg.headers?.values(key).join(",")}`);
    wiretap += `${msg.subject}\n${headers.join("\n")}\n${Buffer.from(msg.data).toString("latin1")}\n`;
  });
  await bus.nc.flush();
});
afterAll(async () => {
  await bus?.drain();
  await mesh?.[Symbol.asyncDispose]();
});

const openai = (headers: Record<string, string> = {}) =>
  new OpenAI({ baseURL: `${mesh.gatewayUrl}/v1`, apiKey: "none", defaultHeaders: headers, maxRetries: 0 });

function file(name: string, text: string): string {
  const at = path.join(mesh.home, name);
  writeFileSync(at, text);
  return at;
}

/** `tiermesh audit compare` once the log has the job's ending. */
function compare(job: string, given: string, ...more: string[]) {
  return waitFor(async () => {
    const found = await mesh.run("audit", "compare", job, given, "--json", ...more);
    expect(found.err).toBe("");
    return { code: found.code, ...(JSON.parse(found.out) as { salt: boolean; matches: { what: string }[] }) };
  });
}

/** The log's signed tree is whole: its last checkpoint covers what was asked for just before. */
async function verified(): Promise<boolean> {
  const { code } = await mesh.run("audit", "verify", "--key", path.join(mesh.home, "audit", "log-key.pub"));
  return code === 0;
}

test("a call with a caller is on record with it; question and answer match by its salt until that is erased", async () => {
  const body = { model: "auto", messages: [{ role: "user" as const, content: QUESTION }] };
  const client = openai({ "x-tiermesh-caller": "service:crm", "x-tiermesh-on-behalf-of": CALLER, "mesh-class": "P0" });
  const { data, response } = await client.chat.completions.create(body).withResponse();
  const job = response.headers.get("x-tiermesh-job") ?? "";
  const answer = data.choices[0]?.message.content ?? "";
  expect(answer).not.toBe("");
  // Its owner's salt is kept for it; nobody is handed one.
  expect(response.headers.get("x-tiermesh-commitment-salt")).toBeNull();

  const asked = file("request.json", JSON.stringify(body));
  const told = file("answer.txt", answer);
  const other = file("other.txt", `${answer}!`);
  expect(await compare(job, asked)).toMatchObject({ code: 0, matches: [{ what: "input_hmac" }] });
  expect(await compare(job, told)).toMatchObject({ code: 0, matches: [{ what: "answer_hmac" }] });
  expect(await compare(job, other)).toMatchObject({ code: 1, salt: true, matches: [] });
  expect(await compare(job, told, "--subject", "service:crm")).toMatchObject({ code: 1, salt: false });

  const found = await mesh.run("audit", "query", "--caller", CALLER, "--json");
  const entries = found.out.split("\n").map((line) => JSON.parse(line) as AuditEntry);
  const caller = { id: "crm", kind: "service", on_behalf_of: [{ id: CALLER }], declared_by: "gateway" };
  expect(entries).toMatchObject(["job_decided", "job_ended"].map((type) => ({ type, job_id: job, data: { caller } })));
  const story = await mesh.run("audit", "trace", job);
  expect(story.out).toContain(`for service crm, on behalf of user ${CALLER}, as was said at the gateway`);
  expect(story.out).toMatch(/commits to input [0-9a-f]{12}…, answer [0-9a-f]{12}…; the job brought the salt/);

  const salts = path.join(mesh.home, "salts");
  const secrets = [
    QUESTION,
    answer,
    await new SaltKeeper(salts).jobSalt("crm", job),
    ...readdirSync(salts).map((name) => readFileSync(path.join(salts, name), "latin1").trim()),
  ];
  expect(wiretap).toContain(job);
  for (const secret of secrets) {
    expect(wiretap).not.toContain(secret);
    expect(wiretap).not.toContain(Buffer.from(secret, secret.length === 64 ? "hex" : "base64url").toString("latin1"));
  }
  for (const text of [...mesh.texts("audit"), ...mesh.texts("logs")]) expect(text).not.toContain(QUESTION);

  expect(await verified()).toBe(true);
  expect((await mesh.run("audit", "erase", "crm")).code).toBe(0);
  for (const given of [asked, told])
    expect(await compare(job, given)).toMatchObject({ code: 1, salt: false, matches: [] });
  expect(await verified()).toBe(true);
});

test("a stream of nobody's is told its salt at its beginning, and who keeps that can tell the answer later", async () => {
  const body = { model: "auto", messages: [{ role: "user" as const, content: QUESTION }], stream: true as const };
  const { data, response } = await openai().chat.completions.create(body).withResponse();
  let answer = "";
  for await (const chunk of data) answer += chunk.choices[0]?.delta.content ?? "";
  const job = response.headers.get("x-tiermesh-job") ?? "";
  const salt = response.headers.get("x-tiermesh-commitment-salt") ?? "";
  const kept = file("salt.txt", salt);
  expect(await compare(job, file("streamed.txt", answer), "--salt-file", kept)).toMatchObject({ code: 0 });
  expect(salt).toMatch(/^[A-Za-z0-9_-]{43}$/);
  expect(wiretap).not.toContain(salt);
});

test("a program without salts is handed one with the result; what it names wrongly is told by its name", async () => {
  const { code, out } = await mesh.run("submit", "--json", QUESTION);
  const result = JSON.parse(out) as { job_id: string; commitment_salt: string };
  expect(code).toBe(0);
  const kept = file("handed.txt", result.commitment_salt);
  const found = await compare(result.job_id, file("result.json", out), "--salt-file", kept);
  expect(found).toMatchObject({ code: 0, matches: [{ what: "answer_hmac" }] });
  const named = await mesh.run("submit", "--json", "--caller", "bob", QUESTION);
  expect(JSON.parse(named.out)).toMatchObject({ status: "finished", commitment_salt: null });
  const wrong = await mesh.run("submit", "--caller", "bob", "--on-behalf-of", "a,,b", QUESTION);
  expect([wrong.code, wrong.err]).toEqual([2, expect.stringContaining("--on-behalf-of")]);
  const refused = await fetch(`${mesh.gatewayUrl}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: "auto", messages: [{ role: "user", content: "hi" }], user: { id: 7 } }),
  });
  expect([refused.status, await refused.json()]).toMatchObject([400, { error: { param: "user" } }]);
});
