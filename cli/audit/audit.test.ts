import { readFile, rename, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { AuditTree } from "../../auditor/audit-tree.ts";
import { SegmentLog } from "../../auditor/segment-log.ts";
import { generatePrivateKey, parsePrivateKey } from "../../auditor/tlog/keys.ts";
import { signatureLine } from "../../auditor/tlog/note.ts";
import type { AuditEntry } from "../../bus-schemas/index.ts";
import { ALONE } from "../../test/kit/signed-log.ts";
import { tempDir, type TempDir } from "../../test/kit/temp-dir.ts";
import { receipt } from "./receipt.ts";
import { verify, type VerifyFlags } from "./verify.ts";

let dir: TempDir;
let log: SegmentLog;
let tree: AuditTree;
let said: string;

beforeEach(async () => {
  dir = tempDir("tiermesh-verify-");
  log = await SegmentLog.open(dir.path);
  await log.startStream("2026-01-01T00:00:00Z", 0);
  tree = await AuditTree.open(dir.path, log, "mesh.main");
  said = "";
  const say = (text: string | Uint8Array) => {
    said += String(text);
    return true;
  };
  vi.spyOn(process.stdout, "write").mockImplementation(say);
  vi.spyOn(process.stderr, "write").mockImplementation(() => true);
});
afterEach(async () => {
  vi.restoreAllMocks();
  process.exitCode = 0;
  await log.close();
  await dir.remove();
});

async function record(type: AuditEntry["type"], jobId: string | null, data: unknown = {}): Promise<void> {
  const sequence = log.sequence + 1;
  const entry: AuditEntry = {
    sequence,
    stream_sequence: sequence,
    job_id: jobId,
    id: `id-${sequence}`,
    source: "router/r1",
    type,
    time: "2026-01-02T03:04:05Z",
    security_level: null,
    traceparent: null,
    data: data as AuditEntry["data"],
  };
  await log.append([entry]);
  tree.add([entry]);
}

const at = (...parts: string[]) => path.join(dir.path, ...parts);
const key = () => at("log-key.pub");
const check = (flags: Partial<VerifyFlags> = {}) => {
  said = "";
  process.exitCode = 0;
  verify({ offline: dir.path, key: key(), checkpoint: [], ...flags });
  return process.exitCode;
};

test("a log is said to be whole, by its folder or by a copy of its tlog, and what is wrong is named", async () => {
  await record("node_left", null);
  await record("job_ended", "job-aaaa", { job_id: "job-aaaa" });
  await tree.cover(ALONE);
  expect(check()).toBe(0);
  expect(said).toContain("2 entries: the signature, every tile and every entry hold");
  expect(check({ offline: at("tlog"), json: true })).toBe(0);
  expect(JSON.parse(said)).toMatchObject({ ok: true, size: 2, problems: [] });
  const bundle = at("tlog", "tile", "entries", "000.p", "2");
  const good = await readFile(bundle, "latin1");
  await writeFile(bundle, good.replace("node_left", "node_lost"), "latin1");
  expect(check()).toBe(1);
  expect(said).toContain("tile/entries/000.p/2: entry 0 is not the one that the tree has");
  await rm(at("tlog", "checkpoint"));
  expect(check({ json: true })).toBe(1);
  expect(JSON.parse(said)).toMatchObject({ ok: false, problems: [{ file: "checkpoint" }] });
});

test("a checkpoint that was kept shows that the log was cut back since, although it is signed and whole", async () => {
  await record("node_left", null);
  await tree.cover(ALONE);
  const older = await readFile(at("tlog", "checkpoint"));
  await record("node_left", null);
  await tree.cover(ALONE);
  await rename(at("tlog", "checkpoint"), at("kept"));
  await writeFile(at("tlog", "checkpoint"), older);
  expect(check()).toBe(0);
  expect(said).toContain("2 files beyond the checkpoint");
  expect(check({ checkpoint: [at("kept")] })).toBe(1);
  expect(said).toContain("kept checkpoint: is of 2 entries, the log has only 1");
});

test("a job's ending gets a receipt that stands alone; of another log's key, or changed, it proves nothing", async () => {
  for (let i = 0; i < 300; i++) await record("node_left", null);
  await record("job_decided", "job-aaaa", { job_id: "job-aaaa" });
  await record("job_ended", "job-aaaa", { job_id: "job-aaaa", status: "finished" });
  for (let i = 0; i < 300; i++) await record("node_left", null);
  const file = at("a.tlog-proof");
  await expect(receipt("job-aaaa", { offline: dir.path, key: key(), out: file })).rejects.toThrow(
    "no ending of job job-aaaa",
  );
  await tree.cover(ALONE);
  await receipt("job-aaaa", { offline: dir.path, key: key(), out: file, json: true });
  expect(JSON.parse(said)).toMatchObject({ job_id: "job-aaaa", index: 301, size: 602, type: "job_ended" });
  await rm(at("tlog"), { recursive: true });
  check({ receipt: file, json: true });
  expect(JSON.parse(said)).toMatchObject({ ok: true, index: 301, entry: { data: { status: "finished" } } });
  check({ receipt: file });
  expect(said).toContain("entry 301 of 602");
  const text = await readFile(file, "utf8");
  await writeFile(file, text.replace("index 301", "index 302"));
  expect(() => check({ receipt: file })).toThrow("is not in the tree");
  expect(() => check({ receipt: at("segment-000001.jsonl") })).toThrow("not a receipt");
  await writeFile(at("other.pub"), "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW");
  await writeFile(file, text);
  expect(() => check({ receipt: file, key: at("other.pub") })).toThrow("not signed by PeterNeumann");
});

test("a receipt takes the checkpoint that witnesses have cosigned, and who checks it may ask for them", async () => {
  const keyOf = (name: string) => parsePrivateKey(generatePrivateKey(() => name, "cosignature"));
  const [one, two] = [keyOf("w.example/1"), keyOf("w.example/2")];
  for (const [name, { verifierKey }] of [["one.pub", one] as const, ["two.pub", two] as const])
    await writeFile(at(name), `${verifierKey}\n`);
  await record("job_ended", "job-aaaa", { job_id: "job-aaaa" });
  await tree.cover(ALONE);
  const note = (await tree.checkpoint()).toString();
  const text = note.slice(0, note.indexOf("\n\n") + 1);
  await tree.cosign(text, [note.slice(text.length + 1), signatureLine(text, one)]);
  await record("node_left", null);
  await tree.cover(ALONE);
  const file = at("a.tlog-proof");
  await receipt("job-aaaa", { offline: dir.path, key: key(), out: file });
  check({ receipt: file, witness: [at("one.pub")] });
  expect(said).toContain("entry 0 of 1");
  expect(said).toContain("1 of 1 witnesses have cosigned its checkpoint (w.example/1: 20");
  check({ receipt: file, witness: [at("one.pub"), at("two.pub")], require: 1, json: true });
  expect(JSON.parse(said)).toMatchObject({ witnesses: [{ state: "cosigned" }, { state: "absent" }] });
  expect(() => check({ receipt: file, witness: [at("two.pub")] })).toThrow("cosigned by 0 of the 1 witnesses named");
  expect(() => check({ witness: [at("two.pub")], require: 2 })).toThrow("--require 2");
  expect(() => check({ witness: [key()] })).toThrow("the key of a log, not of a witness");
  expect(check({ witness: [at("one.pub")] })).toBe(0);
  expect(said).toContain("1 of 1 witnesses have cosigned the first 1 entries");
  await writeFile(at("tlog", "checkpoint.witnessed"), "damaged");
  await receipt("job-aaaa", { offline: dir.path, key: key(), out: file });
  check({ receipt: file });
  expect(said).toContain("entry 0 of 2");
});

test("a folder without a log, a key that is none and a receipt without a key are told, not guessed at", async () => {
  await tree.cover(ALONE);
  expect(() => check({ offline: at("nowhere") })).toThrow("holds no signed log");
  await writeFile(at("bad.pub"), "not a key");
  expect(() => check({ key: at("bad.pub") })).toThrow(/bad\.pub: not a verifier key/);
  expect(() => check({ key: at("none.pub") })).toThrow(/none\.pub: cannot be read/);
  await writeFile(at("r.tlog-proof"), "c2sp.org/tlog-proof@v1\nextra YQ==\nindex 0\n\nx");
  expect(() => verify({ receipt: at("r.tlog-proof"), checkpoint: [] })).toThrow("name the log's verifier key");
});

test("the log's second signature is made when asked for, and required when its key is named", async () => {
  await record("job_ended", "job-0001");
  await tree.cover(ALONE);
  await expect(AuditTree.open(dir.path, log, "mesh.main", { mldsa: true, make: false })).rejects.toThrow(
    "-mldsa is not there",
  );
  tree = await AuditTree.open(dir.path, log, "mesh.main", { mldsa: true });
  const mldsa = at("log-key-mldsa.pub");
  expect(check({ mldsa })).toBe(1);
  expect(said).toContain("it has no ML-DSA-44 signature by that key");
  await record("job_ended", "job-0002");
  await tree.cover(ALONE);
  expect([check(), check({ mldsa })]).toEqual([0, 0]);
  expect(said).toContain("that by ML-DSA-44");
  expect(() => check({ mldsa: key() })).toThrow("not the log's key of ML-DSA-44");
  const note = await readFile(at("tlog", "checkpoint"), "utf8");
  const lines = note.split("\n");
  // One character in the middle, so that it is still base64.
  const line = lines[5] ?? "";
  lines[5] = `${line.slice(0, 1000)}${line[1000] === "A" ? "B" : "A"}${line.slice(1001)}`;
  await writeFile(at("tlog", "checkpoint"), lines.join("\n"));
  expect(check()).toBe(0);
  expect(check({ mldsa })).toBe(1);
});
