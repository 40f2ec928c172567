/**
 * A node as a process of its own: the product's own intake and desk over a runtime that does what a job's prompt says, as
 * `ms=200`, `fail=runtime_failed` or `hold`. Each line of its output says that a run began or ended.
 */
import { ERROR_CODES, MeshError, type ErrorCode } from "../../bus-schemas/index.ts";
import { Intake } from "../../agent/intake.ts";
import { RuntimeDesk } from "../../agent/runtime-desk.ts";
import type { RuntimeJob } from "../../agent/runtimes/runtime.ts";
import type { RunHandlers } from "../../agent/work/work-thread.ts";
import { connectBus } from "../../service/bus.ts";
import { BASE_ENV, BaseConfig, busAddressOf, loadConfig } from "../../service/config.ts";
import { EventPublisher } from "../../service/events.ts";
import { newId } from "../../service/ids.ts";
import { createLog } from "../../service/log.ts";
import { startLoop } from "../../service/loop.ts";
import { Metrics } from "../../service/metrics.ts";
import { Rejections } from "../../service/rejections.ts";
import { runtimeState } from "./agent-parts.ts";
import { nodeRecord } from "./router-parts.ts";

const [nodeId = "node-1", models = "tiny", slots = "4"] = process.argv.slice(2);
const log = createLog("agent", "warn");
const bus = await connectBus(nodeId, busAddressOf(loadConfig(BaseConfig, BASE_ENV, { env: process.env })), log);
const events = new EventPublisher(bus, "agent", nodeId, log);
const rejections = new Rejections("agent", events, new Metrics("agent"), log);
const say = (line: object) => void process.stdout.write(`${JSON.stringify(line)}\n`);

const running = new Map<number, () => void>();
let count = 0;
const work = {
  run(_runtime: string, { jobId, messages }: RuntimeJob, { onChunk, onFailed }: RunHandlers): number {
    const id = count++;
    const content = messages.at(-1)?.content;
    const prompt = typeof content === "string" ? content : "";
    say({ began: jobId });
    const end = (how: string) => {
      running.delete(id);
      say({ ended: jobId, how });
    };
    const [, code = ""] = /fail=(\w+)/.exec(prompt) ?? [];
    if (code in ERROR_CODES) {
      end("failed");
      queueMicrotask(() => onFailed(new MeshError(code as ErrorCode, "as it was told to")));
      return id;
    }
    const [, ms = "1"] = /ms=(\d+)/.exec(prompt) ?? [];
    const timer = prompt.includes("hold")
      ? undefined
      : setTimeout(() => {
          end("finished");
          onChunk({ type: "delta", content: `${prompt} by ${nodeId}` });
          onChunk({
            type: "done",
            finishReason: "stop",
            usage: { prompt_tokens: 3, completion_tokens: 2, estimated: true },
          });
        }, Number(ms));
    running.set(id, () => {
      clearTimeout(timer);
      end("cancelled");
    });
    return id;
  },
  cancel: (id: number) => running.get(id)?.(),
};
const desk = new RuntimeDesk(() => work);
desk.update([runtimeState("ollama", models.split(","), { slots: Number(slots) })]);
const intake = new Intake({
  nodeId,
  layer: "L1",
  bus,
  events,
  rejections,
  log,
  desk,
  closedBecause: () => undefined,
  load: () => desk.load(),
  onEnded: (job) => desk.release(job),
});
const bootId = newId();
let seq = 0;
startLoop({ name: "heartbeat", everyMs: 500, onError: (error) => log.warn(error) }, () => {
  if (!bus.connected()) return;
  const served = models.split(",").map((name) => ({ name, runtime: "ollama", loaded: true, context_length: 8192 }));
  const about = { boot_id: bootId, seq: seq++, models: models.split(","), served_models: served, load: desk.load() };
  bus.nc.publish(bus.subjects.heartbeat("L1", nodeId), JSON.stringify(nodeRecord(nodeId, about)));
});
intake.start();
await bus.nc.flush();
say({ ready: nodeId });
