import path from "node:path";
import { readFile, rm, writeFile } from "node:fs/promises";
import { afterEach, beforeEach, expect, test } from "vitest";
import { CHEATS, recordHonestJobs } from "../../test/kit/p0-jobs.ts";
import { ended } from "../../test/kit/recorded-jobs.ts";
import { BEGAN_MS, startLog, type RecordedLog } from "../../test/kit/recorded-log.ts";
import { tempDir, type TempDir } from "../../test/kit/temp-dir.ts";
import { parseVerifierKey, type NoteVerifier } from "../tlog/keys.ts";
import type { NegativeProof } from "./no-p0-egress.ts";
import { checkNegativeProof, proveNoP0Egress } from "./prove.ts";

const ALL = { fromMs: BEGAN_MS, toMs: BEGAN_MS + 3_600_000 };

let dir: TempDir;
let log: RecordedLog;
let tlog: string;
let key: NoteVerifier;

beforeEach(async () => {
  dir = tempDir("tiermesh-negative-");
  log = await startLog(dir.path);
  tlog = path.join(dir.path, "tlog");
  key = parseVerifierKey(await readFile(path.join(dir.path, "log-key.pub"), "utf8"));
  await recordHonestJobs(log);
  await log.cover();
});
afterEach(async () => {
  await log.close();
  await dir.remove();
});

const check = (proof: unknown) => checkNegativeProof(tlog, key, Buffer.from(JSON.stringify(proof)));

test("a log in which P0 stayed at home proves it, with every entry that says where a P0 job went", () => {
  const proof = proveNoP0Egress(tlog, key, ALL);
  expect(proof).toMatchObject({
    holds: true,
    violations: [],
    size: 8,
    first: 0,
    counts: { entries: 8, in_range: 8, p0: 3, cloud: 2, rejected: 0 },
  });
  expect(proof.p0).toEqual([
    { index: 0, type: "job_decided", job_id: "job-p0-aaaa", node_id: "gpu-1", layer: "L1" },
    { index: 1, type: "job_redispatched", job_id: "job-p0-aaaa", node_id: "gpu-2", layer: "L1" },
    { index: 2, type: "job_ended", job_id: "job-p0-aaaa", node_id: "gpu-2", layer: "L1" },
  ]);
  expect(check(proof)).toMatchObject({ differs: [], proof: { holds: true } });
});

test.each(Object.keys(CHEATS))("a log with %s does not prove it, and says by which entry", async (why) => {
  await CHEATS[why]?.(log);
  await log.cover();
  const proof = proveNoP0Egress(tlog, key, ALL);
  expect(proof.holds).toBe(false);
  expect(proof.violations).toMatchObject([{ index: log.tree.size - 1, why }]);
  expect(check(proof).differs).toEqual([]);
});

test("the time range decides which entries count, but not what is known of their jobs", async () => {
  const cheat = CHEATS["p0_job_in_cloud"];
  await cheat?.(log);
  await log.cover();
  const timeOf = (index: number) => BEGAN_MS + (index + 1) * 1000;
  // Its decision, which calls it P0, lies before the range; the run in the cloud is in it.
  expect(proveNoP0Egress(tlog, key, { fromMs: timeOf(9), toMs: ALL.toMs }).violations).toMatchObject([{ index: 9 }]);
  expect(proveNoP0Egress(tlog, key, { fromMs: BEGAN_MS, toMs: timeOf(9) })).toMatchObject({
    holds: true,
    violations: [],
  });
});

test("a proof that was touched in any field is not what the tiles say", () => {
  const proof = proveNoP0Egress(tlog, key, ALL);
  const touched: Partial<NegativeProof>[] = [
    { p0: proof.p0.slice(1) },
    { counts: { ...proof.counts, cloud: 1 } },
    { holds: false },
    { first: 1 },
    { claim: "all is well" },
    { violations: [{ ...(proof.p0[0] as NegativeProof["p0"][number]), why: "p0_to_cloud" }] },
    { from: new Date(BEGAN_MS + 1500).toISOString() },
  ];
  for (const change of touched) expect(check({ ...proof, ...change }).differs.length).toBeGreaterThan(0);
  expect(() => check({ ...proof, size: -1 })).toThrow(/size/);
  expect(() => check({ ...proof, checkpoint: proof.checkpoint.replace("\n8\n", "\n7\n") })).toThrow(/signature/);
});

test("a proof holds on a copy that has grown since, and not on one that was changed, cut back or is another log", async () => {
  const proof = proveNoP0Egress(tlog, key, ALL);
  await log.record("job_ended", ended("job-of-later", "gpu-1", "L1"), { dataClass: "P0" });
  await log.cover();
  expect(check(proof)).toMatchObject({ differs: [], proof: { holds: true } });
  const later = proveNoP0Egress(tlog, key, ALL);
  const tile = path.join(tlog, "tile", "entries", "000.p", "9");
  const good = await readFile(tile);
  await writeFile(tile, good.with(40, (good[40] ?? 0) ^ 1));
  expect(() => check(later)).toThrow(/does not verify/);
  expect(() => proveNoP0Egress(tlog, key, ALL)).toThrow(/does not verify/);
  await writeFile(tile, good);
  const other = await startLog(path.join(dir.path, "other"));
  await recordHonestJobs(other);
  await other.cover();
  expect(() =>
    checkNegativeProof(path.join(dir.path, "other", "tlog"), key, Buffer.from(JSON.stringify(proof))),
  ).toThrow(/does not verify|not signed by/);
  await other.close();
  await rm(path.join(tlog, "checkpoint"));
  expect(() => proveNoP0Egress(tlog, key, ALL)).toThrow(/missing or not readable/);
});
