import { z } from "zod";
import { Count, Jurisdiction, SubjectToken, type Layer } from "../../bus-schemas/index.ts";
import { RuntimeGpus } from "../gpu-health/runtime-gpus.ts";
import { ManagedRuntimes } from "../supervision/settings.ts";
import { WINDOW_FORM, parseWindow } from "./schedule.ts";

/**
 * What kind of machine this is, which says how much it minds the person at it: `workstation` has one, `server` has none, and `egress`
 * passes jobs on to a cloud.
 */
export const PROFILES = ["workstation", "server", "egress"] as const;
export type Profile = (typeof PROFILES)[number];

/** What a network that counts bytes is spared: nothing, downloads of models, or every job. From lax to strict. */
export const METERED = ["allow", "no-pulls", "closed"] as const;

const Percent = z.number().min(0).max(100);
/** A limit below 30 °C would be reached by the weather. */
const LimitCelsius = z.number().min(30).max(120);
const Window = z
  .string()
  .max(60)
  .refine((text) => parseWindow(text) !== undefined, { error: WINDOW_FORM });

/** Each limit of what the mesh may take of a machine, as agent.yaml and the company's file have them. null = no such limit. */
export const Limits = z.strictObject({
  /** Jobs that each runtime may run at once, at most. */
  max_slots: Count.min(1).max(10_000).nullable(),
  /** Works while the machine runs on its battery. */
  on_battery: z.boolean(),
  /** On battery: not below this level. */
  min_battery_percent: Percent.nullable(),
  /** Works while somebody uses the machine. */
  user_active: z.boolean(),
  /** Somebody uses the machine who touched it less than so long ago, seconds. */
  user_idle_seconds: z.number().min(1).max(86_400),
  /** What it means that nobody can tell when the machine was touched last. */
  unknown_idle: z.enum(["active", "idle"]),
  /** Of the hottest GPU, degrees Celsius. From 10 °C below it takes less at a time. */
  max_gpu_temp_c: LimitCelsius.nullable(),
  /** Of the processor, degrees Celsius, in the same steps. */
  max_cpu_temp_c: LimitCelsius.nullable(),
  /** Others' share of all processors at which it stops, percent. */
  max_other_cpu_percent: Percent.min(1).nullable(),
  /** Others' share below which it goes on, percent; null = half of that at which it stops. */
  other_cpu_back_percent: Percent.nullable(),
  /** Names of programs: while one runs nothing is taken. */
  exclusive_apps: z.array(z.string().trim().min(1).max(100)).max(100),
  /** GPU memory that must stay free when a model is loaded, GB by the device's own word. */
  reserved_vram_gb: z.number().min(0).max(10_000),
  metered: z.enum(METERED),
  /** When it works, local time; empty = always. */
  schedule: z.array(Window).max(50),
  /** What becomes of running jobs when it stops: they end here, or go on elsewhere. */
  suspend: z.enum(["finish", "hand-back"]),
  /** Others' use of the processors counts when it lasts so long, seconds. */
  close_after_seconds: z.number().min(0).max(600),
  /** What made it stop must be over for so long before it goes on, seconds. */
  open_after_seconds: z.number().min(0).max(3600),
});
export type Limits = z.infer<typeof Limits>;

/** The company's file: limits that agent.yaml may only tighten. What it leaves out it does not limit. */
export const CompanyLimits = Limits.partial();
export type CompanyLimits = z.infer<typeof CompanyLimits>;

const Slots = Count.min(1).max(10_000);

/** agent.yaml: limits, and what only somebody at this machine knows. */
export const AgentFile = Limits.partial().extend({
  profile: z.enum(PROFILES).optional(),
  /** Where the machine stands, for the record of what runs on it: an ISO 3166-1 code. */
  jurisdiction: Jurisdiction.optional(),
  /** Jobs that each runtime runs at once, instead of what it tells. */
  slots: Slots.optional(),
  /** The same for one runtime, by its name or kind. */
  runtime_slots: z.record(SubjectToken, Slots).optional(),
  /** Runtimes that the agent keeps running (supervision/). */
  managed_runtimes: ManagedRuntimes.optional(),
  /** Which GPUs a runtime works with (gpu-health/). */
  runtime_gpus: RuntimeGpus.optional(),
});
export type AgentFile = z.infer<typeof AgentFile>;

const LENIENT: Limits = {
  max_slots: null,
  on_battery: true,
  min_battery_percent: null,
  user_active: true,
  user_idle_seconds: 300,
  unknown_idle: "idle",
  max_gpu_temp_c: null,
  max_cpu_temp_c: null,
  max_other_cpu_percent: null,
  other_cpu_back_percent: null,
  exclusive_apps: [],
  reserved_vram_gb: 0,
  metered: "closed",
  schedule: [],
  suspend: "finish",
  close_after_seconds: 10,
  open_after_seconds: 10,
};

/** What holds where nobody says anything. Why each is what it is: docs/agent.md. */
export const DEFAULTS: Readonly<Record<Profile, Limits>> = {
  workstation: {
    ...LENIENT,
    on_battery: false,
    min_battery_percent: 30,
    user_active: false,
    unknown_idle: "active",
    max_gpu_temp_c: 80,
    max_cpu_temp_c: 90,
    max_other_cpu_percent: 40,
    other_cpu_back_percent: 20,
    metered: "no-pulls",
    suspend: "hand-back",
    open_after_seconds: 30,
  },
  server: { ...LENIENT, max_gpu_temp_c: 87, max_cpu_temp_c: 95, metered: "no-pulls" },
  egress: LENIENT,
};

/** A machine of layer L0 is somebody's, until it is said that it is not. */
export function profileOf(layer: Layer, egress: boolean): Profile {
  if (egress) return "egress";
  return layer === "L0" ? "workstation" : "server";
}
