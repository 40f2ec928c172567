import { parentPort, workerData } from "node:worker_threads";
import { MeshError } from "../../bus-schemas/index.ts";
import { createLog } from "../../service/log.ts";
import { startLoop } from "../../service/loop.ts";
import { createEgress } from "../egress/providers.ts";
import { createRuntimes, type FoundRuntimes } from "../runtimes/discover.ts";
import type { EmbeddedEndpoint, FromWorker, ToWorker, WorkerConfig } from "./protocol.ts";

/** Entry of the work thread: finds runtimes, runs jobs on them, answers pings. */

/** Runtimes are looked for this often, milliseconds: a model loaded by hand shows up within seconds. */
const INSPECT_EVERY_MS = 5000;
/** While there is no model at all they are looked for this often: right after a start a busy machine answers late. */
const INSPECT_AGAIN_MS = 500;

const port = parentPort;
if (port === null) throw new MeshError("internal", "worker.ts runs as a worker thread of the agent");
const { egress, endpoints, ...initial } = workerData as WorkerConfig;
const log = createLog("agent-work");
let loopback = initial.loopback;
let embedded: EmbeddedEndpoint | undefined;
let inspectedAtMs = -Infinity;
let found: FoundRuntimes = { runtimes: new Map(), problems: [] };
const now = () => performance.now();
const runtimes =
  egress === undefined
    ? createRuntimes({ endpoints, loopback: () => loopback, embedded: () => embedded, now })
    : createEgress({ ...egress, env: process.env, log, now, random: Math.random, onChange: inspectNow });
const running = new Map<number, AbortController>();

function send(message: FromWorker): void {
  port?.postMessage(message);
}

async function inspect(signal: AbortSignal): Promise<void> {
  found = await runtimes.inspect(signal);
  inspectedAtMs = performance.now();
  send({
    type: "runtimes",
    runtimes: [...found.runtimes.values()].map(({ state }) => state),
    problems: found.problems,
  });
}

function inspectNow(): void {
  void inspect(AbortSignal.timeout(INSPECT_EVERY_MS)).catch((error: unknown) =>
    log.warn({ err: error }, "runtimes could not be inspected"),
  );
}

async function run({ id, runtime: name, job }: Extract<ToWorker, { type: "run" }>): Promise<void> {
  const abort = new AbortController();
  running.set(id, abort);
  try {
    const runtime = found.runtimes.get(name)?.runtime;
    if (runtime === undefined) throw new MeshError("runtime_failed", `the runtime ${name} is gone`);
    let done = false;
    for await (const chunk of runtime.run(job, abort.signal)) {
      if (abort.signal.aborted) break;
      send({ type: "chunk", id, chunk });
      done = chunk.type === "done";
    }
    if (abort.signal.aborted) send({ type: "stopped", id });
    else if (!done) throw new MeshError("runtime_failed", "the runtime ended its answer without saying so");
  } catch (error) {
    if (abort.signal.aborted) send({ type: "stopped", id });
    else send({ type: "failed", id, error: MeshError.from(error, "runtime_failed", "the runtime failed").toWire() });
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
    // What is known of cloud providers costs no question.
    const any = egress === undefined && [...found.runtimes.values()].some(({ state }) => !state.record.diagnostic);
    if (any && performance.now() - inspectedAtMs < INSPECT_EVERY_MS) return;
    await inspect(signal);
  },
);

port.on("message", (message: ToWorker) => {
  if (message.type === "ping") send({ type: "pong" });
  else if (message.type === "run") void run(message);
  else if (message.type === "cancel") running.get(message.id)?.abort();
  else {
    if (message.type === "embedded") embedded = message.endpoint;
    else loopback = message.offered;
    inspectNow();
  }
});
process.once("beforeExit", () => void loop.stop());
