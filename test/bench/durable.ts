import { fileURLToPath } from "node:url";
import { AckPolicy, RetentionPolicy, StorageType, jetstream, jetstreamManager } from "@nats-io/jetstream";
import { HEADERS, JobResult } from "../../bus-schemas/index.ts";
import { MeshClient } from "../../client/index.ts";
import { connectBus, type Bus } from "../../service/bus.ts";
import { createLog } from "../../service/log.ts";
import { newId } from "../../service/ids.ts";
import { header, headersFor } from "../../service/messages.ts";
import { ensureAuditStream, ensureJobStreams } from "../../service/streams.ts";
import { startTestBus } from "../kit/bus.ts";
import { startProc } from "../kit/proc.ts";
import { nodeRecord } from "../kit/router-parts.ts";
import type { Bench, Report } from "./bench.ts";
import { busAddress, busEnv } from "./bus-address.ts";
import { paired } from "./harness.ts";

const ROUTER = fileURLToPath(new URL("../../router/main.ts", import.meta.url));
const POLICY = fileURLToPath(new URL("../../deploy/routing.yaml", import.meta.url));
/** Jobs of a round, and how many are in flight at once: no more than the queue's max_concurrency. */
const JOBS = 200;
const WINDOW = 32;
const PROMPT = "x".repeat(500);

/** What a queue that loses nothing costs, against JetStream alone. */
export const durable: Bench = {
  summary: "durable jobs through their queue to a node that answers at once, against raw JetStream publish and consume",
  run,
};

async function run(report: Report): Promise<void> {
  await using server = await startTestBus();
  const log = createLog("bench", "warn");
  const bus = await connectBus("bench", busAddress(server), log);
  await ensureAuditStream(bus);
  await ensureJobStreams(bus);
  const client = new MeshClient(await connectBus("bench-client", busAddress(server), log));
  using ended = answerDurably(bus);
  await using raw = await rawQueue(bus);
  const proc = () =>
    startProc(ROUTER, {
      env: {
        ...busEnv(server),
        ROUTING_CONFIG_PATH: POLICY,
        TIERMESH_HEALTH_PORT: "0",
        TIERMESH_SUPERVISED: undefined,
      },
    });
  await using router = proc();
  await router.waitForLine(/"ready":true/, 20_000);
  const request = { prompt: PROMPT, model: "bench", security_level: "P2", task_type: "rag" };
  try {
    report.add(
      await paired(
        `putting ${JOBS} jobs in the queue, ${WINDOW} at a time`,
        {
          "raw JetStream publish": () => inWindow(JOBS, async () => void (await raw.publish())),
          "enqueue, to the receipt": async () => {
            const done: Promise<void>[] = [];
            const ops = await inWindow(JOBS, async () => {
              const id = newId();
              done.push(ended.of(id));
              await client.enqueue({ ...request, job_id: id });
            });
            // What is still to be run is not part of the round; it must not slow the next one down.
            void Promise.all(done);
            return ops;
          },
        },
        { rounds: 7, warmupRounds: 2 },
      ),
    );
    await ended.idle();
    report.add(
      await paired(
        `${JOBS} jobs, ${WINDOW} at a time, to their end`,
        {
          "raw JetStream publish, consume, acknowledge": () => inWindow(JOBS, () => raw.there()),
          "durable jobs, P2": () =>
            inWindow(JOBS, async () => {
              const id = newId();
              const end = ended.of(id);
              await client.enqueue({ ...request, job_id: id });
              await end;
            }),
          "durable jobs, P1 (decision is durable first)": () =>
            inWindow(JOBS, async () => {
              const id = newId();
              const end = ended.of(id);
              await client.enqueue({ ...request, job_id: id, security_level: "P1" });
              await end;
            }),
        },
        { rounds: 7, warmupRounds: 2 },
      ),
    );
    report.note(
      "a durable job is five messages on disk (state queued, work, state running, result, state finished) and its events",
    );
    report.note("the end of a job is when the router has stored its result and its node is told so");
  } finally {
    await client.close();
    await bus.drain();
  }
}

/** Does `count` of them, WINDOW at a time. */
async function inWindow(count: number, one: () => Promise<void>): Promise<number> {
  let begun = 0;
  const worker = async () => {
    while (begun++ < count) await one();
  };
  await Promise.all(Array.from({ length: WINDOW }, worker));
  return count;
}

/** Plays a node that answers at once, and hears when a result is stored. */
function answerDurably(bus: Bus) {
  const load = { slots: 1000, running: 0, queued: 0, queue_limit: 1000, pending_prefill_tokens: 0 };
  const about = { models: ["bench"], served_models: [{ name: "bench", runtime: "ollama", loaded: true }], load };
  let seq = 0;
  const beat = () =>
    bus.nc.publish(
      bus.subjects.heartbeat("L1", "node-1"),
      JSON.stringify(nodeRecord("node-1", { ...about, seq: seq++ })),
    );
  const timer = setInterval(beat, 500);
  const waiting = new Map<string, () => void>();
  const thanks = `${bus.inbox}.thanks.`;
  bus.listen(`${thanks}*`, (msg) => {
    const id = msg.subject.slice(thanks.length);
    waiting.get(id)?.();
    waiting.delete(id);
  });
  for (const dataClass of ["P1", "P2"] as const)
    bus.listen(bus.subjects.runs(dataClass, "node-1"), (msg) => {
      const id = header(msg, HEADERS.job) ?? "";
      const word = { job_id: id, node_id: "node-1", load };
      bus.nc.publish(msg.reply ?? "", JSON.stringify({ type: "accepted", ...word }));
      const message = { role: "assistant", content: PROMPT };
      const result = JobResult.parse({ job_id: id, status: "finished", node_id: "node-1", model: "bench", message });
      const headers = headersFor("json", { [HEADERS.fence]: header(msg, HEADERS.fence) });
      bus.nc.publish(header(msg, HEADERS.reply) ?? "", JSON.stringify(result), { headers, reply: thanks + id });
    });
  return {
    of: (id: string) => new Promise<void>((resolve) => waiting.set(id, resolve)),
    idle: async () => {
      while (waiting.size > 0) await new Promise((resolve) => setTimeout(resolve, 20));
    },
    [Symbol.dispose]: () => clearInterval(timer),
  };
}

/** A work queue of JetStream's with nothing around it. */
async function rawQueue(bus: Bus) {
  const manager = await jetstreamManager(bus.nc);
  const js = jetstream(bus.nc);
  const name = "BENCH_RAW";
  const common = { storage: StorageType.File, duplicate_window: 120 * 1_000_000_000 };
  await manager.streams.add({ ...common, name, subjects: ["bench.raw"], retention: RetentionPolicy.Workqueue });
  await manager.consumers.add(name, { durable_name: "raw", ack_policy: AckPolicy.Explicit, max_ack_pending: 40 });
  const waiting = new Map<string, () => void>();
  const messages = await (
    await js.consumers.get(name, "raw")
  ).consume({
    max_messages: 64,
    callback: (msg) => {
      msg.ack();
      const id = msg.headers?.get(HEADERS.job) ?? "";
      waiting.get(id)?.();
      waiting.delete(id);
    },
  });
  const publish = async () => {
    const id = newId();
    await js.publish("bench.raw", PROMPT, { headers: headersFor("json", { [HEADERS.job]: id }), msgID: id });
    return id;
  };
  return {
    publish,
    there: async () => {
      const id = newId();
      const end = new Promise<void>((resolve) => waiting.set(id, resolve));
      await js.publish("bench.raw", PROMPT, { headers: headersFor("json", { [HEADERS.job]: id }), msgID: id });
      await end;
    },
    [Symbol.asyncDispose]: async () => void (await messages.close()),
  };
}
