import { parentPort, workerData } from "node:worker_threads";
import { MeshError } from "../../bus-schemas/index.ts";
import { createLog } from "../../service/log.ts";
import { startLoop } from "../../service/loop.ts";
import type { EgressConfig } from "../egress/providers.ts";
import { createRuntimes, type FoundRuntimes } from "../runtimes/discover.ts";
import { Watchdog } from "./watchdog.ts";
import type { EmbeddedEndpoint, FromWorker, ToWorker, WorkerConfig } from "./protocol.ts";

/** Entry of the work thread: finds runtimes, runs jobs on them, answers pings. */

/** Runtimes are looked for this often, milliseconds: a model loaded by hand shows up within seconds. */
const INSPECT_EVERY_MS = 5000;
/** Where there is no model at all, and where a runtime is ill, they are looked for this often, milliseconds. */
const INSPECT_AGAIN_MS = 500;
/**
 * But no longer than this where there is none, milliseconds: right after a start a busy machine answers late; later the machine
 * simply has none, and to knock at its ports twice a second would cost an idle agent more than all the rest that it does.
 */
const EAGER_FOR_MS = 30_000;

const port = parentPort;
if (port === null) throw new MeshError("internal", "worker.ts runs as a worker thread of the agent");
const { egress, endpoints, ...initial } = workerData as WorkerConfig;
const log = createLog("agent-work");
let loopback = initial.loopback;
let embedded: EmbeddedEndpoint | undefined;
let inspectedAtMs = -Infinity;
/** When a real runtime was there, or this thread began. */
let anySeenAtMs = performance.now();
let found: FoundRuntimes = { runtimes: new Map(), problems: [] };
const now = () => performance.now();
const runtimes =
  egress === undefined
    ? createRuntimes({ endpoints, loopback: () => loopback, embedded: () => embedded, now })
    : await cloudRuntimes(egress);
const running = new Map<number, AbortController>();

/** Only a node of layer L2 needs what reads its providers' file. */
async function cloudRuntimes(config: EgressConfig): Promise<ReturnType<typeof createRuntimes>> {
  const { createEgress } = await import("../egress/providers.ts");
  return createEgress({ ...config, env: process.env, log, now, random: Math.random, onChange: inspectNow });
}

function send(message: FromWorker): void {
  port?.postMessage(message);
}

async function inspect(signal: AbortSignal): Promise<void> {
  found = await runtimes.inspect(signal);
  inspectedAtMs = performance.now();
  tellRuntimes();
}

function tellRuntimes(): void {
  const states = [...found.runtimes.values()].map(({ state }) => state);
  send({ type: "runtimes", runtimes: states, problems: found.problems });
}

/** Whether it is worth while to look more often than usually. */
function isEager(nowMs: number): boolean {
  // What is known of cloud providers costs no question.
  if (egress !== undefined) return true;
  const states = [...found.runtimes.values()].map(({ state }) => state.record);
  if (states.some((record) => !record.diagnostic)) anySeenAtMs = nowMs;
  // One that is ill is looked at often: when it is well again it is used at once. So is one that has just gone.
  return states.some(({ healthy }) => !healthy) || (nowMs !== anySeenAtMs && nowMs - anySeenAtMs < EAGER_FOR_MS);
}

/** Told at once, before an inspection, which waits for answers that do not come. */
function onHung(name: string): void {
  const entry = found.runtimes.get(name);
  if (entry === undefined) return;
  log.warn(`the runtime ${name} does not answer while it has a job`);
  entry.runtime.hung?.();
  const record = { ...entry.state.record, healthy: false, status_reason: "does not answer" };
  entry.state = { ...entry.state, record };
  tellRuntimes();
  inspectNow();
}

function inspectNow(): void {
  void inspect(AbortSignal.timeout(INSPECT_EVERY_MS)).catch((error: unknown) =>
    log.warn({ err: error }, "runtimes could not be inspected"),
  );
}

async function run({ id, runtime: name, job }: Extract<ToWorker, { type: "run" }>): Promise<void> {
  const cancelled = new AbortController();
  const hung = new AbortController();
  running.set(id, cancelled);
  const fail = (error: unknown) =>
    send({ type: "failed", id, error: MeshError.from(error, "runtime_failed", "the runtime failed").toWire() });
  let watchdog: Watchdog | undefined;
  try {
    const runtime = found.runtimes.get(name)?.runtime;
    if (runtime === undefined) throw new MeshError("runtime_failed", `the runtime ${name} is gone`);
    if (runtime.alive !== undefined)
      watchdog = new Watchdog({
        alive: (signal) => runtime.alive?.(signal) ?? Promise.resolve(true),
        onHung: () => {
          hung.abort();
          // Not when its stream ends: a runtime that is stopped may keep that open for ever.
          fail(new MeshError("runtime_failed", `the runtime ${name} does not answer any more`));
          onHung(name);
        },
        now,
      });
    let done = false;
    for await (const chunk of runtime.run(job, AbortSignal.any([cancelled.signal, hung.signal]))) {
      if (cancelled.signal.aborted || hung.signal.aborted) break;
      watchdog?.heard();
      send({ type: "chunk", id, chunk });
      done = chunk.type === "done";
    }
    if (hung.signal.aborted) return;
    if (cancelled.signal.aborted) send({ type: "stopped", id });
    else if (!done) throw new MeshError("runtime_failed", "the runtime ended its answer without saying so");
  } catch (error) {
    if (hung.signal.aborted) return;
    if (cancelled.signal.aborted) send({ type: "stopped", id });
    else fail(error);
  } finally {
    watchdog?.stop();
    running.delete(id);
  }
}

/** A model is loaded, unloaded or downloaded; what came of it is looked at before it is told. */
async function manage({ id, runtime: name, order }: Extract<ToWorker, { type: "manage" }>): Promise<void> {
  const cancelled = new AbortController();
  running.set(id, cancelled);
  try {
    const runtime = found.runtimes.get(name)?.runtime;
    if (runtime?.manage === undefined)
      throw new MeshError("not_supported", `${name} has no models that it could ${order.action}`, { field: "runtime" });
    for await (const progress of runtime.manage(order, cancelled.signal)) send({ type: "progress", id, progress });
    await inspect(AbortSignal.any([cancelled.signal, AbortSignal.timeout(INSPECT_EVERY_MS)]));
    send({ type: cancelled.signal.aborted ? "stopped" : "managed", id });
  } catch (error) {
    if (cancelled.signal.aborted) return send({ type: "stopped", id });
    // What can be expected is told to whoever ordered it.
    if (!(error instanceof MeshError))
      log.warn({ err: error, runtime: name, ...order }, "an order about a model failed");
    send({ type: "failed", id, error: MeshError.from(error, "runtime_failed", "the runtime failed").toWire() });
  } finally {
    running.delete(id);
  }
}

const loop = startLoop(
  {
    name: "inspect",
    everyMs: INSPECT_AGAIN_MS,
    onError: (error) => log.warn({ err: error }, "runtimes could not be inspected"),
  },
  async (signal) => {
    const nowMs = performance.now();
    if (nowMs - inspectedAtMs < INSPECT_EVERY_MS && !isEager(nowMs)) return;
    await inspect(signal);
  },
);

port.on("message", (message: ToWorker) => {
  if (message.type === "ping") send({ type: "pong" });
  else if (message.type === "run") void run(message);
  else if (message.type === "manage") void manage(message);
  else if (message.type === "cancel") running.get(message.id)?.abort();
  else {
    if (message.type === "embedded") embedded = message.endpoint;
    else loopback = message.offered;
    inspectNow();
  }
});
process.once("beforeExit", () => void loop.stop());
