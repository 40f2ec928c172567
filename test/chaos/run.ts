/**
 * `npm run chaos -- --minutes 10 --seed 1`: a mesh on three machines under load, with faults in an order that the seed decides,
 * and a checker that reads what clients, runtimes and the stream have written down. Exit code 0 = every promise held.
 */
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { ClusterMesh } from "../kit/cluster-mesh.ts";
import { check } from "./checker.ts";
import { collect } from "./collect.ts";
import { FAULTS, steps } from "./faults.ts";
import { WAYS, type FaultNote, type Way } from "./history.ts";
import type { LoadPlan } from "./load.ts";
import type { RecorderPlan } from "./recorder.ts";
import { faultTable } from "./report.ts";
import { seeded } from "./seeded.ts";
import { Stranger } from "./strangers.ts";

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "10" },
    seed: { type: "string", default: String(Date.now() % 100_000) },
    /** Only faults whose name begins with one of these, with commas between. */
    only: { type: "string", default: "" },
    /** Events a second that a program of its own has the stream store beside the load. */
    record: { type: "string", default: "20" },
    /** The files are kept also when all is well. */
    keep: { type: "boolean", default: false },
    workers: { type: "string", default: "5,3,3" },
  },
});
const seed = Number(values.seed);
/** Quiet before each fault, and how long the mesh may take to be whole again, milliseconds. */
const QUIET_MS = 1500;
const HEAL_LIMIT_MS = 40_000;
const LOAD = fileURLToPath(new URL("load.ts", import.meta.url));
const RECORDER = fileURLToPath(new URL("recorder.ts", import.meta.url));

const say = (line: string) => process.stdout.write(`${line}\n`);
const folder = mkdtempSync(path.join(tmpdir(), "tiermesh-chaos-"));
say(`seed ${seed}, ${values.minutes} minutes, files in ${folder}`);
const mesh = await ClusterMesh.start({ folder, tag: `tm${process.pid % 10_000}`, egress: true, standby: true });
say(mesh.shared === undefined ? "three machines, a network each" : `three addresses of one machine: ${mesh.shared}`);

const clients = path.join(folder, "clients");
mkdirSync(clients);
const [meshWorkers = 5, http = 3, hand = 3] = values.workers.split(",").map(Number);
const plan: LoadPlan = {
  access: mesh.access("client"),
  gatewayUrls: mesh.gatewayUrls,
  folder: clients,
  seed,
  pieces: mesh.pieces,
  workers: { mesh: meshWorkers, http, hand },
  restMs: 400,
};
const load = spawn(process.execPath, [LOAD, JSON.stringify(plan)], { stdio: ["ignore", "pipe", "inherit"] });
const recorders = path.join(folder, "recorders");
mkdirSync(recorders);
const recorderPlan: RecorderPlan = {
  access: mesh.access("router"),
  folder: recorders,
  name: "recorder-1",
  perSecond: Number(values.record),
};
const recorder = spawn(process.execPath, [RECORDER, JSON.stringify(recorderPlan)], {
  stdio: ["ignore", "pipe", "inherit"],
});
const stranger = new Stranger(mesh);
const ended = Promise.all([load, recorder].map((program) => new Promise((resolve) => program.once("exit", resolve))));
/** Sending time of the newest job of each way that was answered, wall clock. */
const answeredMs: Record<Way, number> = { mesh: 0, http: 0, hand: 0 };
createInterface({ input: load.stdout }).on("line", (line) => {
  const note = JSON.parse(line) as { how?: string; way: Way; atMs: number; sentMs?: number };
  if (note.how === "answer" && note.sentMs !== undefined)
    answeredMs[note.way] = Math.max(answeredMs[note.way], note.sentMs);
});

const faults: FaultNote[] = [];
const stopAtMs = Date.now() + Number(values.minutes) * 60_000;
let interrupted = false;
process.once("SIGINT", () => (interrupted = true));
const notHere = new Set<string>();
const wanted = FAULTS.filter(({ name }) => values.only.split(",").some((begin) => name.startsWith(begin)));
const possible = wanted.filter((fault) => {
  const why = fault.impossible?.(mesh);
  if (why !== undefined) notHere.add(`${fault.name}: ${why}`);
  return why === undefined;
});
for (const line of notHere) say(`skipped ${line}`);
const broken: string[] = [];
await healed(Date.now());
for (const { fault, target, holdMs } of steps(mesh, possible, seeded(seed))) {
  await pause(QUIET_MS);
  if (Date.now() > stopAtMs || interrupted || broken.length > 0) break;
  const note: FaultNote = { name: fault.name, target, injectedMs: Date.now(), releasedMs: Infinity };
  faults.push(note);
  try {
    await fault.run(mesh, target, holdMs);
  } catch (error) {
    broken.push(`${fault.name} of ${target}: ${error instanceof Error ? error.message : String(error)}`);
  }
  note.releasedMs = Date.now();
  note.healedMs = await healed(note.releasedMs);
  const took = note.healedMs === undefined ? "not healed" : `whole after ${note.healedMs - note.releasedMs} ms`;
  say(`${new Date(note.injectedMs).toISOString().slice(11, 19)} ${fault.name}: ${target}, ${took}`);
  if (note.healedMs === undefined) broken.push(`after ${fault.name} of ${target} the mesh did not become whole`);
}
load.kill("SIGTERM");
recorder.kill("SIGTERM");
await ended;
stranger.stopKeeping();
writeFileSync(path.join(folder, "faults.json"), JSON.stringify(faults, null, 1));

const history = await collect(mesh, { clients, recorders }, faults).catch((error: unknown) => {
  broken.push(`the history could not be read: ${error instanceof Error ? error.message : String(error)}`);
});
await mesh.stop();
if (history !== undefined) {
  const { signed, said } = stranger.check();
  const { explained, mostAtOnce, violations } = check({ ...history, signed });
  broken.push(...violations);
  say(`\n${said}; ${history.acknowledged.length} events acknowledged to the recorder`);
  say(
    `\n${history.jobs.length} jobs, ${faults.length} faults, ${history.stream.length} events, most at once ${mostAtOnce}\n`,
  );
  say(faultTable(history.jobs, faults));
  if (explained.size > 0) say("\nnot as in quiet times, and allowed:");
  for (const [what, count] of explained) say(`  ${count} × ${what}`);
}
writeFileSync(path.join(folder, "violations.json"), JSON.stringify(broken, null, 1));
for (const line of broken.slice(0, 50)) say(`VIOLATION ${line}`);
if (broken.length > 0) {
  say(
    `\n${broken.length} violations. Again: npm run chaos -- --minutes ${values.minutes} --seed ${seed}; files kept in ${folder}`,
  );
  process.exitCode = 1;
} else {
  say(`\nevery promise held; seed ${seed}`);
  if (!values.keep) rmSync(folder, { recursive: true, force: true });
}

/** When every part serves and every way in has answered a job sent after `sinceMs`; undefined at the limit. */
async function healed(sinceMs: number): Promise<number | undefined> {
  while (Date.now() < Math.max(sinceMs, 0) + HEAL_LIMIT_MS) {
    const parts = [...mesh.parts.values()].every(({ isReady }) => isReady);
    if (parts && WAYS.every((way) => answeredMs[way] > sinceMs)) return Date.now();
    await pause(50);
  }
  return undefined;
}
