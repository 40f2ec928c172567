import { cpus } from "node:os";
import { join } from "node:path";
import type { Hardware, ModelAction } from "../../bus-schemas/index.ts";
import type { Log } from "../../service/log.ts";
import { startLoop } from "../../service/loop.ts";
import { lacks } from "../model/room.ts";
import type { Probes } from "../probes/start.ts";
import type { RuntimeDesk } from "../runtime-desk.ts";
import type { MachineTimes } from "./activity.ts";
import type { LoadedManners } from "./load.ts";
import type { Verdict } from "./manners.ts";
import { OwnerWord } from "./owner-word.ts";
import { Presence } from "./presence.ts";
import { ProcessTable } from "./process-table.ts";
import { wallClock } from "./schedule.ts";
import { MannersWatch } from "./watch.ts";

/** How often it is looked whether a condition has lasted long enough, milliseconds. */
const LOOK_EVERY_MS = 1000;
/** How often the processes are listed while something depends on them, milliseconds. It costs 2 ms for a hundred (measured). */
const PROCESSES_EVERY_MS = 3000;

export interface StartMannersParts {
  loaded: LoadedManners;
  /** This node's own folder. */
  nodeDir: string;
  probes: Pick<Probes, "current" | "onChange" | "first">;
  desk: Pick<RuntimeDesk, "limit" | "models" | "load" | "handBack">;
  /** Tells routers at once. */
  tell: () => void;
  log: Log;
  signal: AbortSignal;
}

/** What the rest of the agent asks. */
export interface Manners {
  readonly watch: MannersWatch;
  readonly owner: OwnerWord;
  readonly presence: Presence;
  /** Why no job is taken, or undefined. */
  closed(): string | undefined;
  /** Why this may not be done with a model now, or undefined. */
  notNow(action: ModelAction): string | undefined;
  /** Why a model that is not loaded has no room beside what is reserved, or undefined. */
  noRoomFor(model: string): string | undefined;
}

/** Keeps looking, and acts on what changes: fewer slots, a heartbeat at once, running jobs handed back. */
export function startManners(parts: StartMannersParts): Manners {
  const { desk, loaded, log, nodeDir, probes, signal } = parts;
  const { limits } = loaded;
  for (const warning of loaded.warnings) log.warn(warning);
  const clocks = { steadyMs: () => performance.now(), unixMs: Date.now };
  const owner = new OwnerWord(join(nodeDir, "owner.json"), clocks);
  const presence = new Presence(clocks.steadyMs);
  let probed = false;
  void probes.first.then(() => (probed = true));
  const processes = new ProcessTable();
  const watch = new MannersWatch({
    limits,
    hardware: () => {
      const seen = probes.current();
      const idle = presence.idleSeconds(seen.user_idle_seconds, limits.user_idle_seconds);
      return idle === seen.user_idle_seconds ? seen : { ...seen, user_idle_seconds: idle };
    },
    probed: () => probed,
    jobs: () => desk.load().running,
    owner,
    clocks,
    localTime: wallClock(),
    listProcesses: (stop) => processes.read(stop),
    machineTimes,
    ownPid: process.pid,
    platform: process.platform,
    onChange: (verdict) => {
      const { closed, share } = verdict;
      log.info(
        { share: Math.round(share * 100) / 100 },
        closed === null ? "takes jobs" : `takes no jobs: ${closed.reason}`,
      );
      if (share > 0) desk.limit(share);
      // First the word that nothing more is to be sent here, then the jobs that must go elsewhere.
      parts.tell();
      if (closed !== null && handsBack(verdict, owner, limits.suspend)) desk.handBack(closed.reason);
    },
  });
  probes.onChange(() => watch.look());
  const onError = (error: unknown) => log.warn({ err: error }, "the machine could not be looked at");
  startLoop({ name: "manners", everyMs: LOOK_EVERY_MS, onError }, () => void watch.look(), signal);
  startLoop({ name: "processes", everyMs: PROCESSES_EVERY_MS, onError }, (stop) => watch.lookAtProcesses(stop), signal);
  return {
    watch,
    owner,
    presence,
    closed: () => watch.verdict.closed?.reason,
    notNow: (action) => {
      if (action === "unload") return undefined;
      const { closed } = watch.verdict;
      if (closed !== null) return closed.reason;
      const spared = action === "pull" && limits.metered !== "allow" && probes.current().metered === true;
      return spared ? "its network is metered" : undefined;
    },
    noRoomFor: (model) => noRoom(model, desk, probes.current(), limits.reserved_vram_gb),
  };
}

/** The owner's own word comes before what is set for everything else. */
function handsBack({ closed }: Verdict, owner: OwnerWord, suspend: "finish" | "hand-back"): boolean {
  if (closed?.gate === "owner") return owner.current?.word === "pause";
  return suspend === "hand-back";
}

/** A model of which its runtime does not say whether it is loaded passes: it may be. */
function noRoom(
  name: string,
  { models }: Pick<RuntimeDesk, "models">,
  hardware: Hardware,
  reservedGb: number,
): string | undefined {
  if (reservedGb === 0 || hardware.gpus.length === 0) return undefined;
  const served = models.filter((model) => model.name === name);
  const [model] = served;
  if (model === undefined || served.some(({ loaded }) => loaded !== false)) return undefined;
  return lacks(model, hardware, reservedGb);
}

function machineTimes(): MachineTimes {
  let [busyMs, totalMs] = [0, 0];
  const cores = cpus();
  for (const { times } of cores) {
    const busy = times.user + times.nice + times.sys + times.irq;
    busyMs += busy;
    totalMs += busy + times.idle;
  }
  return { cores: Math.max(1, cores.length), busyMs, totalMs };
}
