import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { ended } from "../../test/kit/recorded-jobs.ts";
import { BEGAN_MS, startLog } from "../../test/kit/recorded-log.ts";
import { tempDir, type TempDir } from "../../test/kit/temp-dir.ts";
import { tryLock } from "../../service/file-lock.ts";
import { entriesIn } from "../replay/log-files.ts";
import { auditLog } from "../doctor/audit-log.ts";
import { encrypt, type EncryptFlags } from "./encrypt.ts";
import { exportLog } from "./export.ts";
import { openFolder } from "./source.ts";
import { verify } from "./verify.ts";

let home: TempDir;
let said: string;

beforeEach(async () => {
  home = tempDir("tiermesh-storage-");
  vi.stubEnv("TIERMESH_HOME", home.path);
  const say = (text: string | Uint8Array) => {
    said += String(text);
    return true;
  };
  vi.spyOn(process.stdout, "write").mockImplementation(say);
  vi.spyOn(process.stderr, "write").mockImplementation(() => true);
  const log = await startLog(at("audit"));
  for (let i = 0; i < 300; i++)
    await log.record("job_ended", ended(`job-${String(i).padStart(4, "0")}`, "gpu-1", "L1"));
  await log.cover();
  await log.close();
});
afterEach(async () => {
  vi.unstubAllEnvs();
  vi.restoreAllMocks();
  process.exitCode = 0;
  await home.remove();
});

const at = (...parts: string[]) => path.join(home.path, ...parts);

async function ask(flags: EncryptFlags = {}) {
  [said, process.exitCode] = ["", 0];
  await encrypt({ ...flags, json: true });
  return JSON.parse(said) as { key: string; older_keys: string[]; folders: { running: boolean; files: object }[] };
}

const check = () => {
  [said, process.exitCode] = ["", 0];
  verify({ checkpoint: [], json: true });
  return (JSON.parse(said) as { ok: boolean }).ok;
};
const doctor = () => auditLog.check({ TIERMESH_HOME: home.path });

test("a stopped auditor's log is encrypted, its key changed and the old one forgotten; doctor says how it is", async () => {
  expect(await ask({ status: true })).toMatchObject({ key: null, folders: [{ running: false, files: { plain: 3 } }] });
  expect(await doctor()).toMatchObject({ level: "ok", says: expect.stringContaining("in clear") });
  const { key, folders } = await ask();
  expect(folders).toMatchObject([{ running: false, files: { [key]: 3 } }]);
  expect(statSync(at("audit-storage-key")).mode & 0o777).toBe(0o600);
  expect(readFileSync(at("audit/segment-000001.jsonl"), "utf8")).not.toContain("gpu-1");
  expect(await doctor()).toMatchObject({ level: "ok", says: expect.stringContaining(`by storage key ${key}`) });
  expect(check()).toBe(true);
  expect(await ask()).toMatchObject({ key });
  const lock = await tryLock(at("audit/lock"));
  const changed = await ask({ newKey: true });
  expect(changed).toMatchObject({ older_keys: [key], folders: [{ running: true, files: { [key]: 3 } }] });
  expect(await doctor()).toMatchObject({ level: "warn" });
  await expect(ask({ forgetOld: true })).rejects.toMatchObject({ code: "conflict" });
  expect(await ask({ status: true })).toMatchObject({ key: changed.key });
  expect(process.exitCode).toBe(1);
  if ("release" in lock) await lock.release();
  await ask();
  expect(await ask({ forgetOld: true })).toMatchObject({ older_keys: [], folders: [{ files: { [changed.key]: 3 } }] });
  expect(check()).toBe(true);
});

test("what is encrypted is read where the key is, and elsewhere it is said which one is missing", async () => {
  const { key } = await ask();
  const read = async () => (await Array.fromAsync(entriesIn(at("audit")))).length;
  expect(await read()).toBe(300);
  const { index } = openFolder(at("audit"), undefined);
  expect(index.select({ job_id: "job-0007", limit: 5 })).toEqual([8]);
  index.close();
  await exportLog(at("copy"), { json: true });
  writeFileSync(at("kept"), readFileSync(at("audit-storage-key")));
  writeFileSync(at("audit-storage-key"), `${"ab".repeat(32)}\n`);
  expect(await doctor()).toMatchObject({ level: "fail", says: expect.stringContaining(key) });
  expect(check()).toBe(false);
  await expect(read()).rejects.toMatchObject({ code: "bad_config", message: expect.stringContaining(key) });
  vi.stubEnv("TIERMESH_AUDIT_STORAGE_KEY", readFileSync(at("kept"), "utf8"));
  expect(check()).toBe(true);
  await expect(ask({ newKey: true })).rejects.toMatchObject({ code: "bad_config" });
});

test("the exported copy is plain and whole, and no folder is written into that holds something", async () => {
  const setAside = "segment-000001.jsonl.damaged-10-20";
  writeFileSync(at("audit", setAside), "what was cut");
  await ask();
  expect(readFileSync(at("audit", setAside)).includes("what was cut")).toBe(false);
  await exportLog(at("copy"), { json: true });
  expect(readFileSync(at("copy/tile/entries/000")).includes("gpu-1")).toBe(true);
  expect(readFileSync(at("copy", setAside), "utf8")).toBe("what was cut");
  vi.stubEnv("TIERMESH_HOME", at("nobody"));
  [said, process.exitCode] = ["", 0];
  verify({ offline: at("copy"), checkpoint: [], json: true });
  expect(JSON.parse(said)).toMatchObject({ ok: true, size: 300 });
  vi.stubEnv("TIERMESH_HOME", home.path);
  // The second bundle has entry 257 on; it was recorded 257 seconds behind the log's beginning.
  await exportLog(at("late"), { from: BEGAN_MS + 260_000, json: true });
  expect(existsSync(at("late/tile/entries/000"))).toBe(false);
  const late = (begins?: number) => {
    [said, process.exitCode] = ["", 0];
    verify({ offline: at("late"), checkpoint: [], json: true, ...(begins === undefined ? {} : { begins }) });
    return JSON.parse(said) as object;
  };
  expect(late()).toMatchObject({ ok: false, problems: [{ file: "minimum-index" }] });
  expect(late(256)).toMatchObject({ ok: true, minimum_index: 256, size: 300 });
  await expect(exportLog(at("none"), { from: BEGAN_MS + 1e9 })).rejects.toMatchObject({ code: "not_found" });
  await expect(exportLog(at("audit"), {})).rejects.toMatchObject({ code: "bad_request" });
  expect(existsSync(at("copy/log-key"))).toBe(false);
});
