import type { Hardware } from "../../bus-schemas/index.ts";
import { OtherCpu, runningApp, type MachineTimes } from "./activity.ts";
import { manners, type MannersState, type Verdict } from "./manners.ts";
import type { OwnerWord, TwoClocks } from "./owner-word.ts";
import type { ProcessRow } from "./process-table.ts";
import type { LocalTime } from "./schedule.ts";
import type { EffectiveLimits } from "./strictest.ts";

export interface WatchParts {
  limits: EffectiveLimits;
  hardware: () => Hardware;
  /** Every probe has run once: before that what is unknown is only not known yet. */
  probed: () => boolean;
  /** Jobs that run here. */
  jobs: () => number;
  owner: Pick<OwnerWord, "current">;
  clocks: TwoClocks;
  localTime: (unixMs: number) => LocalTime;
  /** This machine: its processes and their times. */
  listProcesses: (signal: AbortSignal) => Promise<readonly ProcessRow[] | undefined>;
  machineTimes: () => MachineTimes;
  ownPid: number;
  platform: NodeJS.Platform;
  /** Something else may be taken than before, or for another reason. */
  onChange: (verdict: Verdict) => void;
}

/** Looks at the machine and its person, and says what may be taken ({@link manners}). */
export class MannersWatch {
  readonly #parts: WatchParts;
  readonly #cpu: OtherCpu;
  #state: MannersState | undefined;
  #verdict: Verdict | undefined;
  /** What `onChange` was told last. */
  #told = "";
  #otherCpu: number | null = null;
  /** The exclusive app that runs; undefined = none, null = not known. */
  #app: string | undefined | null = null;

  constructor(parts: WatchParts) {
    this.#parts = parts;
    this.#cpu = new OtherCpu(parts.ownPid);
  }

  get verdict(): Verdict {
    return this.#verdict ?? this.look();
  }

  /** Which exclusive app runs: for who sits at this machine, not for the mesh. */
  get app(): string | undefined {
    return this.#app ?? undefined;
  }

  /** null = nobody can tell. */
  get userIdleSeconds(): number | null {
    return this.#parts.hardware().user_idle_seconds;
  }

  /** Call it when the probes have news, when the owner has said something, and every second, for conditions that must last. */
  look(): Verdict {
    const { clocks, hardware, limits, localTime, onChange, owner, probed } = this.#parts;
    const word = owner.current?.word;
    const readings = {
      hardware: hardware(),
      otherCpu: this.#otherCpu,
      exclusiveApp: this.#app === null ? null : this.#app !== undefined,
      local: localTime(clocks.unixMs()),
      owner: word,
    };
    // Whatever is not known before the first look of all probes closes nothing for longer than that.
    const before = probed() ? this.#state : undefined;
    const verdict = manners(before, readings, limits, clocks.steadyMs());
    if (probed()) this.#state = verdict.state;
    this.#verdict = verdict;
    const told = JSON.stringify([verdict.closed?.gate, verdict.share, word]);
    if (told !== this.#told) {
      this.#told = told;
      onChange(verdict);
    }
    return verdict;
  }

  /** Call it every few seconds. The processes are listed only while something depends on them, for that costs milliseconds. */
  async lookAtProcesses(signal: AbortSignal): Promise<void> {
    const { hardware, jobs, limits, listProcesses, machineTimes, platform } = this.#parts;
    const used = hardware().cpu_utilization;
    const { exclusive_apps: apps, max_other_cpu_percent: max, other_cpu_back_percent: back } = limits;
    // Others use no more than all do.
    const calm = used !== null && used * 100 < (back ?? 0);
    const wantCpu = max !== null && !calm;
    if (max !== null && calm) this.#otherCpu = used;
    if (!wantCpu) this.#cpu.forget();
    if (!wantCpu && apps.length === 0) return void this.look();
    const rows = await listProcesses(signal);
    if (signal.aborted) return;
    this.#app = rows === undefined ? null : runningApp(rows, apps, platform);
    if (wantCpu) this.#otherCpu = rows === undefined ? null : this.#cpu.look(rows, machineTimes(), jobs());
    this.look();
  }
}
