import { z } from "zod";
import { DataClass } from "./classes.ts";
import { Count, Label, ModelName } from "./units.ts";

/** SEED 部署架构: machines of one kind, as a purchase list writes them. They describe; agents say what is there. */
const Machines = z.strictObject({
  type: Label,
  count: Count,
  /** Such as `RTX 4060`, or `H20 x4` for four in each machine. */
  gpu: Label.optional(),
  memory: z
    .string()
    .regex(/^\d{1,6} ?(GB|TB)$/, 'a size such as "36GB"')
    .optional(),
  models: z.array(ModelName).max(1000).default([]),
  use_case: Label.optional(),
});

const CloudAccounts = z.strictObject({
  providers: z.array(Label).max(100).default([]),
  models: z.array(ModelName).max(1000).default([]),
  use_case: Label.optional(),
});

/** What the cloud is for at some time of the day: never, after the local layers, or also when those would be too slow. */
const HoursStrategy = z.enum(["local_only", "local_preferred", "cloud_spillover"]);
export type HoursStrategy = z.infer<typeof HoursStrategy>;

const Weekday = z.enum(["mon", "tue", "wed", "thu", "fri", "sat", "sun"]);
const TimeOfDay = z.string().regex(/^([01]\d|2[0-3]):[0-5]\d$|^24:00$/, 'a time such as "09:00"');

/** When SEED's `work_hours` are. A span whose end is before its beginning runs over midnight. */
export const WorkSchedule = z.strictObject({
  days: z.array(Weekday).min(1).default(["mon", "tue", "wed", "thu", "fri"]),
  from: TimeOfDay.default("09:00"),
  to: TimeOfDay.default("18:00"),
  time_zone: z.string().max(64).refine(isTimeZone, 'an IANA time zone such as "Asia/Shanghai"').default("UTC"),
});
export type WorkSchedule = z.infer<typeof WorkSchedule>;

/** SEED 实施案例, the value of `deployment`: what a company has, and what its data and its working day ask for. */
export const Deployment = z.strictObject({
  L0_terminals: z.array(Machines).max(1000).default([]),
  L1_servers: z.array(Machines).max(1000).default([]),
  L2_cloud: CloudAccounts.optional(),
  security_policy: z
    .strictObject({
      /** The same as `routing_policy.default_level`; where both stand they must agree. */
      default_level: DataClass.optional(),
      /** No job of any class goes to L2. */
      cloud_forbidden: z.boolean().default(false),
      audit_retention_days: Count.min(1).max(36_500).optional(),
    })
    .prefault({}),
  routing_strategy: z
    .strictObject({
      work_hours: HoursStrategy.default("local_preferred"),
      off_hours: HoursStrategy.default("local_preferred"),
      /** Not a choice: P0 never leaves L0 and L1, said here or not. */
      p0_data: z.literal("local_only").default("local_only"),
      work_schedule: WorkSchedule.prefault({}),
    })
    .prefault({}),
  /** Tariff, US dollars; about what a kilowatt-hour costs US commerce (EIA, Electric Power Monthly, 2024: 0.13). */
  electricity_usd_per_kwh: z.number().min(0).max(100).default(0.13),
});
export type Deployment = z.infer<typeof Deployment>;

function isTimeZone(name: string): boolean {
  try {
    return new Intl.DateTimeFormat("en", { timeZone: name }).resolvedOptions().timeZone !== "";
  } catch {
    return false;
  }
}
