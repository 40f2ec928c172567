import type { Gpu, Hardware } from "../../bus-schemas/index.ts";
import { turn, type Gate, type Hold, type Sight } from "./gate.ts";
import { HEAT_STEPS, throttle, type Heat } from "./heat.ts";
import { isWithin, type LocalTime } from "./schedule.ts";
import type { EffectiveLimits } from "./strictest.ts";

/** What somebody at the machine said (owner-word.ts). */
export type OwnersWord = "pause" | "finish";

/** What is known of the machine and its person at one moment. null = not known. */
export interface Readings {
  hardware: Pick<
    Hardware,
    | "battery_level"
    | "gpus"
    | "metered"
    | "on_battery"
    | "sampled_at"
    | "temperature_celsius"
    | "thermal_pressure"
    | "user_idle_seconds"
  >;
  /** Share of all processors that others than the mesh use. */
  otherCpu: number | null;
  /** Whether one of the exclusive apps runs. */
  exclusiveApp: boolean | null;
  local: LocalTime;
  /** undefined = nothing was said, or it is over. */
  owner: OwnersWord | undefined;
}

/** Why nothing is taken; the first of several that hold is told. */
export const GATES = ["owner", "app", "user", "schedule", "battery", "metered", "gpu_heat", "cpu_heat", "cpu"] as const;
export type GateName = (typeof GATES)[number];
type SwitchName = Exclude<GateName, "gpu_heat" | "cpu_heat">;

/** What {@link manners} remembers from one look to the next. */
export interface MannersState {
  gates: Readonly<Record<SwitchName, Gate>>;
  heat: Readonly<Record<"gpu" | "cpu", Heat>>;
  /** The gates that are closed, in the order of {@link GATES}. */
  closed: readonly GateName[];
  /** Since when the first of them is what it is, monotonic milliseconds. */
  sinceMs: number;
}

export interface Verdict {
  state: MannersState;
  /** Share of the slots that may be used; 0 only when closed. */
  share: number;
  /** Why nothing is taken, for everybody to read; null = jobs are taken. It names no program: that is its person's affair. */
  closed: { gate: GateName; reason: string } | null;
  /** Since when that is so, monotonic milliseconds. */
  sinceMs: number;
}

/** On battery, so much more than the least level lets it go on, percent. */
const BATTERY_BACK_PERCENT = 5;
const AT_ONCE: Hold = { closeMs: 0, openMs: 0 };

/**
 * What the mesh may take of a machine now. Pure: the same state, readings, limits and time always give the same verdict.
 * @param state of the look before; undefined at the first one, which decides without waiting
 * @param nowMs monotonic, milliseconds
 */
export function manners(
  state: MannersState | undefined,
  readings: Readings,
  limits: EffectiveLimits,
  nowMs: number,
): Verdict {
  const openMs = limits.open_after_seconds * 1000;
  const slowly: Hold = { closeMs: 0, openMs };
  const { hardware } = readings;
  const next = (name: SwitchName, sight: Sight, hold: Hold) => turn(state?.gates[name], sight, hold, nowMs);
  const gates = {
    owner: next("owner", readings.owner === undefined ? "open" : "closed", AT_ONCE),
    app: next("app", appSight(readings, limits), slowly),
    user: next("user", userSight(hardware.user_idle_seconds, limits), slowly),
    schedule: next("schedule", scheduleSight(readings.local, limits), AT_ONCE),
    battery: next("battery", batterySight(hardware, limits), slowly),
    metered: next("metered", meteredSight(hardware.metered, limits), slowly),
    cpu: next("cpu", cpuSight(readings.otherCpu, limits), { closeMs: limits.close_after_seconds * 1000, openMs }),
  };
  const { temperature_celsius: celsius, thermal_pressure: pressure } = hardware;
  const heat = {
    gpu: throttle(
      state?.heat.gpu,
      { celsius: hottest(hardware), pressure: null },
      limits.max_gpu_temp_c,
      openMs,
      nowMs,
    ),
    cpu: throttle(state?.heat.cpu, { celsius, pressure }, limits.max_cpu_temp_c, openMs, nowMs),
  };
  const shut: Record<GateName, boolean> = {
    ...(Object.fromEntries(Object.entries(gates).map(([name, gate]) => [name, gate.closed])) as Record<
      SwitchName,
      boolean
    >),
    gpu_heat: heat.gpu.steps === HEAT_STEPS,
    cpu_heat: heat.cpu.steps === HEAT_STEPS,
  };
  const closed = GATES.filter((name) => shut[name]);
  const [gate] = closed;
  const sinceMs = state !== undefined && state.closed[0] === gate ? state.sinceMs : nowMs;
  return {
    state: { gates, heat, closed, sinceMs },
    share: gate === undefined ? (HEAT_STEPS - Math.max(heat.gpu.steps, heat.cpu.steps)) / HEAT_STEPS : 0,
    closed: gate === undefined ? null : { gate, reason: reasonFor(gate, readings, limits) },
    sinceMs,
  };
}

function appSight({ exclusiveApp }: Readings, { exclusive_apps: apps }: EffectiveLimits): Sight {
  if (apps.length === 0) return "open";
  return exclusiveApp === null ? "unclear" : exclusiveApp ? "closed" : "open";
}

function userSight(idleSeconds: number | null, limits: EffectiveLimits): Sight {
  if (limits.user_active) return "open";
  if (idleSeconds === null) return limits.unknown_idle === "active" ? "closed" : "open";
  return idleSeconds < limits.user_idle_seconds ? "closed" : "open";
}

function scheduleSight(local: LocalTime, { schedules }: EffectiveLimits): Sight {
  return schedules.every((windows) => isWithin(windows, local)) ? "open" : "closed";
}

function batterySight(
  { on_battery: onBattery, battery_level: level }: Readings["hardware"],
  limits: EffectiveLimits,
): Sight {
  if (limits.on_battery && limits.min_battery_percent === null) return "open";
  if (onBattery === null) return "unclear";
  if (!onBattery) return "open";
  if (!limits.on_battery) return "closed";
  const least = limits.min_battery_percent ?? 0;
  if (level === null) return "unclear";
  if (level * 100 < least) return "closed";
  return level * 100 >= Math.min(least + BATTERY_BACK_PERCENT, 100) ? "open" : "unclear";
}

function meteredSight(metered: boolean | null, limits: EffectiveLimits): Sight {
  if (limits.metered !== "closed") return "open";
  return metered === null ? "unclear" : metered ? "closed" : "open";
}

function cpuSight(share: number | null, limits: EffectiveLimits): Sight {
  const { max_other_cpu_percent: max, other_cpu_back_percent: back } = limits;
  if (max === null) return "open";
  if (share === null) return "unclear";
  if (share * 100 >= max) return "closed";
  return share * 100 < Math.min(back ?? max, max) ? "open" : "unclear";
}

/** Degrees Celsius of the hottest GPU. Where there is none, or all sleep, nothing is hot; null = none of them says. */
function hottest({ gpus, sampled_at: sampledAt }: Readings["hardware"]): number | null {
  const awake = gpus.filter(({ asleep }) => asleep !== true);
  if (awake.length === 0) return sampledAt.gpus === null ? null : 0;
  const known = awake.flatMap(({ temperature_celsius: celsius }: Gpu) => celsius ?? []);
  return known.length === 0 ? null : Math.max(...known);
}

function reasonFor(gate: GateName, { owner, hardware }: Readings, limits: EffectiveLimits): string {
  switch (gate) {
    case "owner":
      return owner === "finish" ? "its owner lets it finish, then pause" : "its owner has paused it";
    case "app":
      return "an app runs that has the machine to itself";
    case "user":
      return hardware.user_idle_seconds === null ? "nobody can tell whether its user is away" : "its user is active";
    case "schedule":
      return "outside the hours when it works";
    case "battery":
      return limits.on_battery ? `its battery is below ${limits.min_battery_percent} %` : "it runs on battery";
    case "metered":
      return "its network is metered";
    case "gpu_heat":
      return `its GPU is too hot (limit ${limits.max_gpu_temp_c} °C)`;
    case "cpu_heat":
      return `its processor is too hot (limit ${limits.max_cpu_temp_c} °C)`;
    case "cpu":
      return `others use its processors (limit ${limits.max_other_cpu_percent} %)`;
  }
}
