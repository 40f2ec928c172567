import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { StorageType, type JetStreamManager } from "@nats-io/jetstream";
import { createInbox, headers as newHeaders, type MsgHdrs } from "@nats-io/nats-core";
import { NO_KEYS, StorageKeys, newStorageKey } from "../../auditor/at-rest/storage-keys.ts";
import { generatePrivateKey, parsePrivateKey, parseVerifierKey } from "../../auditor/tlog/keys.ts";
import { TileReader } from "../../auditor/tlog/reader.ts";
import { inclusionProof } from "../../auditor/tlog/tree.ts";
import { verifyLog } from "../../auditor/tlog/verify.ts";
import { TlogWriter } from "../../auditor/tlog/writer.ts";
import { connectBus, type Bus } from "../../service/bus.ts";
import { newId } from "../../service/ids.ts";
import { createLog } from "../../service/log.ts";
import { ensureAuditStream } from "../../service/streams.ts";
import { startTestBus, type TestBus } from "../kit/bus.ts";
import { startProc, type Proc } from "../kit/proc.ts";
import type { Bench, Report } from "./bench.ts";
import { busAddress, busEnv } from "./bus-address.ts";
import { paired, quantile } from "./harness.ts";
import { usageOf } from "./proc-usage.ts";

const AUDITOR = fileURLToPath(new URL("../../auditor/main.ts", import.meta.url));
/** Events of a round, and how many may wait for their acknowledgement at once. */
const EVENTS = 20_000;
const WINDOW = 2000;
/** Entries of the log that is verified, and of each batch that it is written in. */
const ENTRIES = 1_000_000;
const BATCH = 1000;
const PROOFS = 300;

/** What the signed log costs, against JetStream alone, and how long it takes to look into it. */
export const auditLog: Bench = {
  summary:
    "events into the signed log against raw JetStream publish; receipts, proofs and the verification of 1,000,000 entries",
  run,
};

async function run(report: Report): Promise<void> {
  const folder = mkdtempSync(path.join(tmpdir(), "tiermesh-bench-log-"));
  try {
    await intoTheLog(report, path.join(folder, "plain"));
    const keys = new StorageKeys([newStorageKey()]);
    report.note("the same, with a log that is encrypted on the disk:");
    await intoTheLog(report, path.join(folder, "encrypted"), keys);
    await lookingInto(report, path.join(folder, "large"));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function intoTheLog(report: Report, folder: string, keys = NO_KEYS): Promise<void> {
  await using server = await startTestBus();
  const bus = await connectBus("bench", busAddress(server), createLog("bench", "warn"));
  try {
    const manager = await ensureAuditStream(bus);
    const { max_age, max_bytes, duplicate_window } = (await manager.streams.info("AUDIT")).config;
    const raw = { name: "RAW", subjects: ["raw.>"], storage: StorageType.File, max_age, max_bytes, duplicate_window };
    await manager.streams.add(raw);
    const publisher = new Publisher(bus);
    const subject = bus.subjects.event("job_ended", "P2", "router", "r1");
    // What waits in the stream is what one auditor can take at most.
    await publisher.publish(subject, 5 * EVENTS);
    const auditor = await startAuditor(server, folder, keys);
    const startedCpuMs = usageOf(auditor.pid).cpuMs;
    const backlogMs = await timed(() => covered(manager, 5 * EVENTS));
    const cpuMs = usageOf(auditor.pid).cpuMs - startedCpuMs;
    report.note(
      `from a backlog of ${5 * EVENTS}: ${rate(5 * EVENTS, backlogMs)} events/s into the log, signed; ` +
        `${((cpuMs * 1000) / (5 * EVENTS)).toFixed(1)} µs of the auditor's CPU time each, all its threads`,
    );
    const memory = [usageOf(auditor.pid).rssMb];
    const rounds = { rounds: 7, warmupRounds: 1 };
    report.add(
      await paired(
        `${EVENTS} events, ${WINDOW} at a time`,
        {
          "raw JetStream publish": () => publisher.publish("raw.a.P2.b.c", EVENTS),
          "events, until they are signed": async () => {
            await publisher.publish(subject, EVENTS);
            await covered(manager);
            memory.push(usageOf(auditor.pid).rssMb);
            return EVENTS;
          },
        },
        rounds,
      ),
    );
    report.note(`the auditor's memory, MB, each ${EVENTS} events: ${memory.map((mb) => mb.toFixed(0)).join(", ")}`);
    const latencies: number[] = [];
    for (let i = 0; i < 15; i++) {
      latencies.push(
        await timed(async () => {
          await publisher.publish(subject, 1);
          await covered(manager);
        }),
      );
    }
    const [median, most] = [0.5, 1].map((share) => (quantile(latencies, share) / 1000).toFixed(2));
    report.note(`one event until a checkpoint covers it, so that it has a receipt: ${median} s (at most ${most} s)`);
    auditor.kill("SIGTERM");
    await auditor.exited;
    const { entries, problems, seconds } = verified(path.join(folder, "tlog"), path.join(folder, "log-key.pub"), keys);
    report.note(`verify of its log, ${entries} entries: ${seconds.toFixed(1)} s, ${problems} problems`);
  } finally {
    await bus.drain();
  }
}

async function startAuditor(server: TestBus, folder: string, keys: StorageKeys): Promise<Proc> {
  const key = keys.texts.length === 0 ? {} : { TIERMESH_AUDIT_STORAGE_KEY: keys.texts.join(" ") };
  const env = { ...key, ...busEnv(server), TIERMESH_AUDIT_DIR: folder, TIERMESH_HEALTH_PORT: "0", LOG_LEVEL: "warn" };
  const proc = startProc(AUDITOR, { env: { ...env, TIERMESH_SUPERVISED: undefined } });
  await proc.waitForLine(/"ready":true/, 60_000);
  return proc;
}

/** Resolves when the auditor has acknowledged all that the stream has: a signed checkpoint covers it. */
async function covered(manager: JetStreamManager, atLeast = 0): Promise<void> {
  for (;;) {
    const { state } = await manager.streams.info("AUDIT");
    const { ack_floor } = await manager.consumers.info("AUDIT", "auditor");
    if (ack_floor.stream_seq >= Math.max(atLeast, state.last_seq)) return;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Publishes events as our processes do: headers, an id for JetStream, one subscription for all acknowledgements. */
class Publisher {
  readonly #bus: Bus;
  readonly #inbox = createInbox();
  #pending = 0;
  #wake = () => {};

  constructor(bus: Bus) {
    this.#bus = bus;
    bus.listen(`${this.#inbox}.*`, () => {
      this.#pending--;
      this.#wake();
    });
  }

  /** @returns `count`, when all are acknowledged */
  async publish(subject: string, count: number): Promise<number> {
    const { nc } = this.#bus;
    for (let i = 0; i < count; i++) {
      while (this.#pending >= WINDOW) await new Promise<void>((resolve) => (this.#wake = resolve));
      this.#pending++;
      const { body, headers } = event();
      nc.publish(subject, body, { headers, reply: `${this.#inbox}.a` });
    }
    while (this.#pending > 0) await new Promise<void>((resolve) => (this.#wake = resolve));
    return count;
  }
}

function event(): { body: string; headers: MsgHdrs } {
  const id = newId();
  const headers = newHeaders();
  headers.set("Nats-Msg-Id", id);
  headers.set("ce-specversion", "1.0");
  headers.set("ce-id", id);
  headers.set("ce-type", "tiermesh.job_ended");
  headers.set("ce-source", "router/r1");
  headers.set("ce-time", new Date().toISOString());
  const about = {
    job_id: id,
    status: "finished",
    node_id: "gpu-1",
    layer: "L1",
    model: "llama3.1:8b",
    decision_id: id,
  };
  const usage = { prompt_tokens: 812, completion_tokens: 240 };
  return {
    body: JSON.stringify({ ...about, finish_reason: "stop", usage, timing: null, error: null }),
    headers,
  };
}

async function lookingInto(report: Report, folder: string): Promise<void> {
  const signer = parsePrivateKey(generatePrivateKey(() => "tiermesh.internal/bench"));
  const writer = await TlogWriter.open(folder, signer);
  const entry = (i: number) => Buffer.from(`{"data":{"job_id":"${i}","pad":"${"x".repeat(430)}"},"sequence":${i + 1}}`);
  const writeMs = await timed(async () => {
    for (let at = 0; at < ENTRIES; at += BATCH)
      await writer.append(Array.from({ length: BATCH }, (_, i) => entry(at + i)));
  });
  report.note(
    `${ENTRIES} entries of 480 bytes into the tree, ${BATCH} a checkpoint, all synced: ${rate(ENTRIES, writeMs)}/s`,
  );
  let problems = 0;
  const verifyMs = await timed(() => {
    problems = verifyLog(folder, parseVerifierKey(signer.verifierKey)).problems.length;
  });
  report.note(`verify of ${ENTRIES} entries: ${(verifyMs / 1000).toFixed(1)} s, ${problems} problems`);
  const proofsMs: number[] = [];
  for (let i = 0; i < PROOFS; i++) {
    const index = Math.floor((ENTRIES / PROOFS) * i);
    // A reader of its own each time: nothing is known from the one before.
    proofsMs.push(await timed(() => inclusionProof(index, ENTRIES, new TileReader(folder, ENTRIES).subtrees)));
  }
  report.note(
    `proof of one entry: ${quantile(proofsMs, 0.5).toFixed(2)} ms (p99 ${quantile(proofsMs, 0.99).toFixed(2)} ms)`,
  );
}

function verified(
  folder: string,
  keyFile: string,
  keys: StorageKeys,
): { entries: number; problems: number; seconds: number } {
  const startMs = performance.now();
  const { checkpoint, problems } = verifyLog(folder, parseVerifierKey(readFileSync(keyFile, "utf8")), { keys });
  const seconds = (performance.now() - startMs) / 1000;
  return { entries: checkpoint?.size ?? 0, problems: problems.length, seconds };
}

async function timed(work: () => unknown): Promise<number> {
  const startMs = performance.now();
  await work();
  return performance.now() - startMs;
}

function rate(count: number, ms: number): string {
  return Math.round(count / (ms / 1000)).toLocaleString("en");
}
