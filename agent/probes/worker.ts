import { flushCompileCache } from "node:module";
import { MeshError } from "../../bus-schemas/errors.ts";
import { CommandRunner } from "./command.ts";
import { HardwarePicture } from "./hardware.ts";
import { createHost } from "./host.ts";
import { PROBES } from "./index.ts";
import type { FromProbes, ProbesConfig, ToProbes } from "./protocol.ts";
import { startProbeLoops } from "./runner.ts";

/**
 * Entry of the probes' process: looks at the hardware where nothing that blocks, hangs or crashes can touch the bus or the work.
 * It imports only what it needs, for an idle agent has little memory to spend.
 */

/** News are gathered for this long, milliseconds: the heartbeat takes them once a second anyhow. */
const POST_EVERY_MS = 1000;
/** A sign of life although nothing is new, milliseconds. */
const ALIVE_EVERY_MS = 5000;

const send = process.send?.bind(process);
if (send === undefined) throw new MeshError("internal", "agent/probes/worker.ts runs as a process of the agent");
const { stateDir } = JSON.parse(process.argv.at(-1) ?? "") as ProbesConfig;
const commands = new CommandRunner();
const host = createHost({ stateDir, commands });
const probes = PROBES.map((create) => create());
const picture = new HardwarePicture(probes, host);
const stop = new AbortController();
let postTimer: NodeJS.Timeout | undefined;
let postedAtMs = Number.NEGATIVE_INFINITY;
let postedComplete = false;
let onItsWay = false;

function post(): void {
  clearTimeout(postTimer);
  postTimer = undefined;
  // An agent that was stopped for hours takes nothing meanwhile; the messages must not pile up here.
  if (onItsWay || !process.connected) return;
  postedAtMs = performance.now();
  // At an end by force nothing is written any more.
  if (picture.complete && !postedComplete) flushCompileCache();
  postedComplete = picture.complete;
  const message: FromProbes = {
    type: "hardware",
    hardware: picture.current(),
    problems: picture.problems(),
    complete: picture.complete,
  };
  onItsWay = true;
  send?.(message, undefined, undefined, () => (onItsWay = false));
}

function changed(): void {
  const waitMs = postedAtMs + POST_EVERY_MS - performance.now();
  if (waitMs <= 0 || (picture.complete && !postedComplete)) post();
  else postTimer ??= setTimeout(post, waitMs);
}

const alive = setInterval(changed, ALIVE_EVERY_MS);
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

function end(): void {
  stop.abort();
  clearTimeout(postTimer);
  clearInterval(alive);
  commands.killAll();
}

process.on("message", (message: ToProbes) => {
  if (message.type !== "stop") return;
  end();
  void Promise.all(loops.map((loop) => loop.stop())).then(() => {
    if (process.connected) process.disconnect();
  });
});

// The agent is gone, or has let go of us. An exit would wait for native calls that hang, and nobody is there to kill us then.
process.once("disconnect", () => {
  end();
  process.kill(process.pid, "SIGKILL");
});
