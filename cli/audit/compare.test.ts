import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Caller, type CallerInput } from "../../bus-schemas/index.ts";
import { commitment, inputText } from "../../service/commitment.ts";
import { SaltKeeper } from "../../service/salts.ts";
import { ended } from "../../test/kit/recorded-jobs.ts";
import { startLog, type RecordedLog } from "../../test/kit/recorded-log.ts";
import { tempDir, type TempDir } from "../../test/kit/temp-dir.ts";
import { compare, type CompareFlags } from "./compare.ts";

const JOB = "job-00000001";
const CHAT = { messages: [{ role: "user", content: "how many?" }] };

let dir: TempDir;
let log: RecordedLog;
let said: string;
let keeper: SaltKeeper;

beforeEach(async () => {
  dir = tempDir("tiermesh-compare-");
  log = await startLog(path.join(dir.path, "audit"));
  keeper = new SaltKeeper(path.join(dir.path, "salts"));
  said = "";
  vi.spyOn(process.stdout, "write").mockImplementation((text) => {
    said += String(text);
    return true;
  });
});
afterEach(async () => {
  vi.restoreAllMocks();
  process.exitCode = 0;
  await log.close();
  await dir.remove();
});

/** Records the ending of a job as its node does. */
async function record(salt: Uint8Array, from: "caller" | "node", caller?: CallerInput): Promise<void> {
  const commitments = {
    salt_from: from,
    input_hmac: commitment(salt, inputText(CHAT)),
    answer_hmac: commitment(salt, "twenty\n"),
    egress_hmac: commitment(salt, '{"to":"provider"}'),
  };
  const who = caller === undefined ? {} : { caller: Caller.parse(caller) };
  await log.record("job_ended", { ...ended(JOB, "gpu-1", "L1"), ...who, commitments });
  await log.cover();
}

function file(text: string): string {
  const name = path.join(dir.path, "given");
  mkdirSync(dir.path, { recursive: true });
  writeFileSync(name, text);
  return name;
}

const folders = () => ({ offline: path.join(dir.path, "audit"), salts: path.join(dir.path, "salts") });

async function look(text: string, flags: CompareFlags = {}) {
  said = "";
  process.exitCode = 0;
  await compare(JOB, file(text), { ...folders(), ...flags });
  return { said, code: process.exitCode };
}

test("a file is known as the input or the answer in each form in which a person may have it, and another is not", async () => {
  await record(Buffer.from(await keeper.jobSalt("alice", JOB), "base64url"), "caller", { id: "alice" });
  const inputs = ["how many?", "how many?\n", JSON.stringify({ model: "m", ...CHAT }), JSON.stringify(CHAT.messages)];
  for (const text of inputs)
    expect(await look(text)).toEqual({ said: `it is the input of job ${JOB} on gpu-1, entry #1\n`, code: 0 });
  const message = { role: "assistant", content: "twenty\n" };
  for (const text of ["twenty\n", JSON.stringify({ message }), JSON.stringify({ choices: [{ index: 0, message }] })])
    expect((await look(text)).said).toContain("it is the answer of job");
  expect((await look('{"to":"provider"}')).said).toContain("the request to the provider");
  const other = await look("how much?", { json: true });
  expect([JSON.parse(other.said), other.code]).toEqual([{ job_id: JOB, salt: true, matches: [] }, 1]);
  expect(await look("twenty", { subject: "bob" })).toMatchObject({ code: 1 });
});

test("after the caller was erased nobody can tell", async () => {
  await record(Buffer.from(await keeper.jobSalt("alice", JOB), "base64url"), "caller", { id: "alice" });
  await keeper.erase("alice");
  expect(await look("how many?")).toEqual({ said: expect.stringContaining("nobody can tell"), code: 1 });
  expect(await look("how many?", { subject: "alice" })).toMatchObject({ code: 1 });
});

test("a salt that was handed over is taken from a file; one that is none is told without what is in it", async () => {
  const salt = Buffer.alloc(32, 7);
  await record(salt, "node");
  const saltFile = path.join(dir.path, "salt.txt");
  writeFileSync(saltFile, `${salt.toString("base64url")}\n`);
  expect(await look("twenty\n", { saltFile })).toMatchObject({ code: 0 });
  await expect(look("twenty\n")).rejects.toThrow(/names no caller: say --salt-file/);
  await expect(look("twenty\n", { saltFile, subject: "a" })).rejects.toThrow(/say one of them/);
  writeFileSync(saltFile, "my secret");
  await expect(look("twenty\n", { saltFile })).rejects.toThrow(/holds no salt/);
  await expect(look("twenty\n", { saltFile })).rejects.not.toThrow(/my secret/);
});

test("a pseudonym needs to be told who that is; a job without commitments has nothing to compare with", async () => {
  const salt = Buffer.from(await keeper.jobSalt("alice", JOB), "base64url");
  await record(salt, "caller", { id: await keeper.pseudonym("alice"), pseudonyms: true });
  await expect(look("how many?")).rejects.toThrow(/only a pseudonym/);
  expect(await look("how many?", { subject: "alice" })).toMatchObject({ code: 0 });
  await log.record("job_ended", ended("job-00000002", "gpu-1", "L1"));
  await log.cover();
  await expect(compare("job-00000002", file("x"), folders())).rejects.toMatchObject({ code: "not_found" });
  await expect(compare("job-00000003", file("x"), folders())).rejects.toMatchObject({ code: "not_found" });
});
