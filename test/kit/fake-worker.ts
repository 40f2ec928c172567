import { parentPort } from "node:worker_threads";
import type { FromWorker, ToWorker } from "../../agent/work/protocol.ts";

/** Stands in for agent/work/worker.ts: what it does with a run is the name of the job's model. */

const send = (message: FromWorker) => parentPort?.postMessage(message);
send({ type: "runtimes", runtimes: [], problems: [] });

parentPort?.on("message", (message: ToWorker) => {
  if (message.type === "ping") send({ type: "pong" });
  if (message.type === "embedded") send({ type: "runtimes", runtimes: [], problems: [] });
  if (message.type === "cancel") send({ type: "stopped", id: message.id });
  if (message.type === "manage") {
    const { id, order } = message;
    send({ type: "progress", id, progress: { phase: "loading", done_bytes: null, total_bytes: null } });
    if (order.model === "good") return send({ type: "managed", id });
    if (order.model === "crash") throw new Error("native code would end like this");
    return send({ type: "failed", id, error: { code: "not_supported", message: "no", retryable: false } });
  }
  if (message.type !== "run") return;
  const { id, job } = message;
  if (job.model === "crash") throw new Error("native code would end like this");
  // For ever: only the end of the thread ends it.
  if (job.model === "block") Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
  if (job.model === "silent") return;
  if (job.model === "fail")
    return send({ type: "failed", id, error: { code: "runtime_failed", message: "no", retryable: true } });
  send({ type: "chunk", id, chunk: { type: "delta", content: "hi" } });
  send({ type: "chunk", id, chunk: { type: "done", finishReason: "stop", usage: null } });
  send({ type: "chunk", id, chunk: { type: "delta", content: "late" } });
});
