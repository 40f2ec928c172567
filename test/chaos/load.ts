/**
 * A program that submits jobs until it is told to stop, and writes down what it sent and what it got:
 * `node load.ts <json of LoadPlan>`. Each of its workers has a file of its own. Endings go to standard output as well.
 */
import { appendFileSync } from "node:fs";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { MeshClient } from "../../client/index.ts";
import { connectBus, type BusAddress } from "../../service/bus.ts";
import { newId } from "../../service/ids.ts";
import { createLog } from "../../service/log.ts";
import type { ClientNote, Way } from "./history.ts";
import { seeded } from "./seeded.ts";
import { byHand, byHttp, byMesh, type Submit } from "./ways.ts";

export interface LoadPlan {
  access: BusAddress;
  gatewayUrls: string[];
  /** Where the notes go. */
  folder: string;
  seed: number;
  /** Of a whole answer. */
  pieces: number;
  workers: Record<Way, number>;
  /** Rest of a worker between two jobs, milliseconds. */
  restMs: number;
  /** No job is cancelled or given too little time. */
  plain?: boolean;
}

/** A job's own time, milliseconds. */
const LIMIT_MS = 10_000;
/** A share of the jobs is cancelled by its client, and as many are given too little time. */
const ODD_SHARE = 0.04;
const TOO_LITTLE_MS = 60;

const plan = JSON.parse(process.argv[2] ?? "") as LoadPlan;
const log = createLog("load", "silent");
const client = await MeshClient.connect({ ...plan.access, log });
const hand = await connectBus("hand", plan.access, log);
const stop = new AbortController();
process.on("SIGTERM", () => stop.abort());

const submits: Record<Way, Submit> = {
  mesh: byMesh(client, plan.pieces),
  http: byHttp(plan.gatewayUrls, plan.pieces),
  hand: byHand(hand, plan.pieces),
};
const workers = Object.entries(plan.workers).flatMap(([way, count]) =>
  Array.from({ length: count }, (_, i) => worker(way as Way, i)),
);
process.stdout.write(`${JSON.stringify({ ready: true })}\n`);
await Promise.all(workers);
// What comes late is a second answer: time for it to come.
await pause(2000);
await client.close();
await hand.drain();

async function worker(way: Way, number: number): Promise<void> {
  const random = seeded(plan.seed * 1000 + number * 10 + way.length);
  const file = path.join(plan.folder, `${way}-${number}.ndjson`);
  let sentMs = 0;
  const write = (note: ClientNote) => {
    appendFileSync(file, `${JSON.stringify(note)}\n`);
    if (note.note === "sent") sentMs = note.atMs;
    if (note.note === "ended") process.stdout.write(`${JSON.stringify({ ...note, way, sentMs })}\n`);
  };
  await pause(random() * plan.restMs);
  while (!stop.signal.aborted) {
    // By hand nobody seals: P0 is not for them.
    const classes = way === "hand" ? ["P1", "P2"] : ["P0", "P1", "P2"];
    const dataClass = classes[Math.floor(random() * classes.length)] ?? "P2";
    const stream = random() < 0.5;
    const odd = plan.plain === true ? 1 : random();
    const expects: "cancelled" | "deadline_exceeded" | undefined =
      odd < ODD_SHARE && way === "mesh" ? "cancelled" : odd < 2 * ODD_SHARE ? "deadline_exceeded" : undefined;
    const timeoutMs = expects === "deadline_exceeded" ? TOO_LITTLE_MS : LIMIT_MS;
    const job = newId();
    const about = { job, way, dataClass, stream, ...(expects === undefined ? {} : { expects }) };
    write({ note: "sent", atMs: Date.now(), ...about, limitMs: timeoutMs });
    const start = performance.now();
    await submits[way]({ job, dataClass, stream, timeoutMs, cancel: expects === "cancelled", random }, write);
    await pause(Math.max(0, plan.restMs * (0.5 + random()) - (performance.now() - start) / 10), undefined, {
      signal: stop.signal,
    }).catch(() => undefined);
  }
}
