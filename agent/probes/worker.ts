import { parentPort, workerData } from "node:worker_threads";
import { MeshError } from "../../bus-schemas/errors.ts";
import { CommandRunner } from "./command.ts";
import { HardwarePicture } from "./hardware.ts";
import { createHost } from "./host.ts";
import { PROBES } from "./index.ts";
import type { FromProbes, ProbesConfig, ToProbes } from "./protocol.ts";
import { startProbeLoops } from "./runner.ts";

/** Entry of the probes' thread: looks at the hardware where nothing that blocks can hold up the bus or the work. */

/** News are gathered for this long, milliseconds: the heartbeat takes them once a second anyhow. */
const POST_EVERY_MS = 1000;

const port = parentPort;
if (port === null) throw new MeshError("internal", "agent/probes/worker.ts runs as a worker thread of the agent");
const { stateDir } = workerData as ProbesConfig;
const commands = new CommandRunner();
// A thread that crashes must not leave an nvidia-smi behind which the next thread knows nothing of.
process.once("exit", () => commands.killAll());
const host = createHost({ stateDir, commands });
const probes = PROBES.map((create) => create());
const picture = new HardwarePicture(probes, host);
const stop = new AbortController();
let postTimer: NodeJS.Timeout | undefined;
let postedAtMs = Number.NEGATIVE_INFINITY;
let postedComplete = false;

function post(): void {
  clearTimeout(postTimer);
  postTimer = undefined;
  postedAtMs = performance.now();
  postedComplete = picture.complete;
  const message: FromProbes = {
    type: "hardware",
    hardware: picture.current(),
    problems: picture.problems(),
    complete: picture.complete,
  };
  port?.postMessage(message);
}

function changed(): void {
  const waitMs = postedAtMs + POST_EVERY_MS - performance.now();
  if (waitMs <= 0 || (picture.complete && !postedComplete)) post();
  else postTimer ??= setTimeout(post, waitMs);
}

const loops = startProbeLoops(
  probes,
  host,
  {
    onReading: (probe, reading) => {
      picture.succeeded(probe, reading);
      changed();
    },
    onFailure: (probe, message) => {
      picture.failed(probe, message);
      changed();
    },
  },
  stop.signal,
);

port.on("message", (message: ToProbes) => {
  if (message.type !== "stop") return;
  stop.abort();
  clearTimeout(postTimer);
  commands.killAll();
  void Promise.all(loops.map((loop) => loop.stop())).then(() => port.close());
});
