import { flushCompileCache } from "node:module";
import { MeshError } from "../../bus-schemas/errors.ts";
import { CommandRunner } from "./command.ts";
import { HardwarePicture } from "./hardware.ts";
import { createHost } from "./host.ts";
import { PROBES } from "./index.ts";
import { runAllOnce } from "./once.ts";
import type { FoundOnce, FromProbes, ProbesConfig, ToProbes } from "./protocol.ts";
import { startProbeLoops } from "./runner.ts";

/**
 * Entry of the probes' process: looks at the hardware where nothing that blocks, hangs or crashes can touch the bus or the work.
 * It imports only what it needs, for an idle agent has little memory to spend.
 */

/** News are gathered for this long, milliseconds: the heartbeat takes them once a second anyhow. */
const POST_EVERY_MS = 1000;
/** A sign of life although nothing is new, milliseconds. */
const ALIVE_EVERY_MS = 5000;

const ipc = process.send?.bind(process);
if (ipc === undefined) throw new MeshError("internal", "agent/probes/worker.ts runs as a process of the agent");
const { stateDir, nativeDir, once } = JSON.parse(process.argv.at(-1) ?? "") as ProbesConfig;
const commands = new CommandRunner();
const host = createHost({ stateDir, nativeDir, commands });
const probes = PROBES.map((create) => create());
const stop = new AbortController();

function send(message: FromProbes | FoundOnce, onSent: () => void): void {
  ipc?.(message, undefined, undefined, onSent);
}

/** Tells what there is for as long as the agent is there. @returns fulfils when it was stopped */
async function keepLooking(): Promise<void> {
  const picture = new HardwarePicture(probes, host);
  let timer: NodeJS.Timeout | undefined;
  let postedAtMs = Number.NEGATIVE_INFINITY;
  let postedComplete = false;
  let onItsWay = false;

  const post = () => {
    clearTimeout(timer);
    timer = undefined;
    // An agent that was stopped for hours takes nothing meanwhile; the messages must not pile up here.
    if (onItsWay || !process.connected || stop.signal.aborted) return;
    postedAtMs = performance.now();
    // At an end by force nothing is written any more.
    if (picture.complete && !postedComplete) flushCompileCache();
    postedComplete = picture.complete;
    const { complete } = picture;
    const seen = { hardware: picture.current(), problems: picture.problems(), faults: picture.faults() };
    onItsWay = true;
    send({ type: "hardware", ...seen, complete }, () => {
      onItsWay = false;
    });
  };
  const changed = () => {
    const waitMs = postedAtMs + POST_EVERY_MS - performance.now();
    if (waitMs <= 0 || (picture.complete && !postedComplete)) post();
    else timer ??= setTimeout(post, waitMs);
  };

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
  await new Promise((resolve) => stop.signal.addEventListener("abort", resolve, { once: true }));
  clearTimeout(timer);
  clearInterval(alive);
  await Promise.all(loops.map((loop) => loop.stop()));
}

function end(): void {
  stop.abort();
  commands.killAll();
}

process.on("message", (message: ToProbes) => {
  if (message.type === "stop") end();
});

// The agent is gone, or we have done. An exit would wait for native calls that hang, and nobody may be there to kill us then.
process.once("disconnect", () => {
  end();
  process.kill(process.pid, "SIGKILL");
});

if (once === true) {
  const found = await runAllOnce(probes, host, stop.signal);
  flushCompileCache();
  await new Promise<void>((resolve) => send({ type: "once", ...found }, resolve));
} else await keepLooking();
if (process.connected) process.disconnect();
