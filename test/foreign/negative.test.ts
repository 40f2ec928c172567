import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { proveNoP0Egress } from "../../auditor/proofs/prove.ts";
import { parseVerifierKey } from "../../auditor/tlog/keys.ts";
import { CHEATS, recordHonestJobs } from "../kit/p0-jobs.ts";
import { BEGAN_MS, startLog, type RecordedLog } from "../kit/recorded-log.ts";
import { tempDir, type TempDir } from "../kit/temp-dir.ts";
import { NO_GO, buildGo } from "./go-program.ts";

/** Our negative proofs, computed again in Go by a program that shares nothing with us but the words of the rules. */

if (NO_GO !== undefined) process.stderr.write(`test/foreign/negative.test.ts is skipped: ${NO_GO}\n`);

const RANGE = { fromMs: BEGAN_MS, toMs: BEGAN_MS + 3_600_000 };
let program: ReturnType<typeof buildGo>;
let dir: TempDir;
let log: RecordedLog;

beforeAll(() => {
  if (NO_GO !== undefined) return undefined;
  const built = tempDir("tiermesh-negative-go-");
  program = buildGo("negative", built.path);
  return () => built.remove();
}, 180_000);
beforeEach(async () => {
  dir = tempDir("tiermesh-negative-");
  log = await startLog(dir.path);
  // More than one bundle, so that partial and full ones are read.
  for (let i = 0; i < 40; i++) await recordHonestJobs(log);
});
afterEach(async () => {
  await log.close();
  await dir.remove();
});

async function prove(change: (text: string) => string = (text) => text) {
  await log.cover();
  const tlog = path.join(dir.path, "tlog");
  const key = (await readFile(path.join(dir.path, "log-key.pub"), "utf8")).trim();
  const file = path.join(dir.path, "proof.json");
  await writeFile(file, change(JSON.stringify(proveNoP0Egress(tlog, parseVerifierKey(key), RANGE))));
  return program(tlog, key, file);
}

test.skipIf(NO_GO !== undefined)("Go comes to the same of a log in which P0 stayed at home", async () => {
  expect(await prove()).toEqual({ status: 0, out: "ok 320 120", err: "" });
});

test.skipIf(NO_GO !== undefined)("Go refuses a proof that was touched, and one whose log is", async () => {
  const touched = await prove((text) => text.replace('"gpu-2","layer":"L1"', '"gpu-3","layer":"L1"'));
  expect(touched).toMatchObject({ status: 1, err: "the proof is not what the tiles say" });
  expect(await prove((text) => text.replace('"cloud":80', '"cloud":79'))).toMatchObject({ status: 1 });
  const bundle = path.join(dir.path, "tlog", "tile", "entries", "000");
  const good = await readFile(bundle);
  await writeFile(bundle, good.with(100, (good[100] ?? 0) ^ 1));
  const file = path.join(dir.path, "proof.json");
  const key = (await readFile(path.join(dir.path, "log-key.pub"), "utf8")).trim();
  expect(program(path.join(dir.path, "tlog"), key, file)).toMatchObject({ status: 1, out: "" });
});

test.skipIf(NO_GO !== undefined)("Go finds the same entry against the claim, by each of the rules", async () => {
  for (const cheat of Object.values(CHEATS)) {
    await cheat(log);
    expect(await prove()).toMatchObject({ status: 1, err: expect.stringContaining("does not hold") });
    // Without its mention the proof is not what the tiles say.
    const hidden = (text: string) => JSON.stringify({ ...(JSON.parse(text) as object), violations: [], holds: true });
    expect(await prove(hidden)).toMatchObject({ status: 1, err: "the proof is not what the tiles say" });
  }
});
