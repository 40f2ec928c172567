import { z } from "zod";
import { Layer } from "./classes.ts";
import { MODEL_ACTIONS } from "./control.ts";
import { Ipv4, MacAddress, Network } from "./network-address.ts";
import {
  Celsius,
  Count,
  Gb,
  GbPerSecond,
  IsoTime,
  Joules,
  Jurisdiction,
  KeyBytes,
  Label,
  LabelValue,
  ModelDigest,
  ModelName,
  Ms,
  NodeId,
  Ratio,
  Seconds,
  SubjectToken,
  Tokens,
  TokensPerSecond,
  UnixMs,
  Watts,
} from "./units.ts";

/** Version of the heartbeat's meaning; readers accept this and older. */
export const NODE_SCHEMA_VERSION = 1;

/** One GPU. Unknown is null, never 0. `utilization` and SEED's names as in 节点注册示例. */
export const Gpu = z.object({
  index: Count.nullable().default(null),
  uuid: z.string().max(100).nullable().default(null),
  vendor: Label.nullable().default(null),
  name: Label,
  vram_total_gb: Gb.nullable().default(null),
  vram_free_gb: Gb.nullable().default(null),
  utilization: Ratio.nullable().default(null),
  temperature_celsius: Celsius.nullable().default(null),
  power_watts: Watts.nullable().default(null),
  power_limit_watts: Watts.nullable().default(null),
  driver_version: z.string().max(60).nullable().default(null),
  mig_mode: z.boolean().nullable().default(null),
  mig_instances: z
    .array(z.object({ uuid: z.string().max(100).nullable(), profile: Label.nullable(), vram_total_gb: Gb.nullable() }))
    .max(64)
    .default([]),
  /** Why it is slower than it could be; `hw_thermal_slowdown` and `sw_thermal_slowdown` are heat, `sw_power_cap` is not. */
  throttled: z.array(Label).max(20).nullable().default(null),
  /** Address on the PCI bus, `0000:65:00.0`: two probes that see one device have it once. */
  pci_address: z.string().max(40).nullable().default(null),
  /** Its memory is the machine's own (Apple, GB10): what a program takes there the GPU has not. */
  unified_memory: z.boolean().nullable().default(null),
  /** It sleeps, and was not woken to be asked. */
  asleep: z.boolean().nullable().default(null),
  /** Since its driver was loaded. */
  energy_joules: Joules.nullable().default(null),
  /** Who holds its memory, by process id alone. */
  processes: z
    .array(
      z.object({
        pid: z
          .number()
          .int()
          .min(0)
          .max(2 ** 32 - 1),
        vram_gb: Gb.nullable(),
      }),
    )
    .max(64)
    .nullable()
    .default(null),
  sampled_at: IsoTime.nullable().default(null),
  /** Why it is not used although it is, or was, there; null = it is well. */
  sick: Label.nullable().default(null),
});
export type Gpu = z.infer<typeof Gpu>;

/** When each group of values was measured; null = never. */
export const SampledAt = z.object({
  cpu: IsoTime.nullable().default(null),
  memory: IsoTime.nullable().default(null),
  temperature: IsoTime.nullable().default(null),
  gpus: IsoTime.nullable().default(null),
  disk: IsoTime.nullable().default(null),
  power: IsoTime.nullable().default(null),
  battery: IsoTime.nullable().default(null),
  user: IsoTime.nullable().default(null),
  network: IsoTime.nullable().default(null),
});

/** The machine. Superset of SEED's `hardware`. */
export const Hardware = z.object({
  gpus: z.array(Gpu).max(64).default([]),
  cpu_cores: Count.nullable().default(null),
  cpu_model: Label.nullable().default(null),
  cpu_utilization: Ratio.nullable().default(null),
  memory_gb: Gb.nullable().default(null),
  memory_free_gb: Gb.nullable().default(null),
  temperature_celsius: Celsius.nullable().default(null),
  disk_free_gb: Gb.nullable().default(null),
  platform: Label.nullable().default(null),
  arch: Label.nullable().default(null),
  /** Of the processor and what sits with it, or of the whole machine where that can be read. */
  power_watts: Watts.nullable().default(null),
  /** As the operating system names it: nominal, fair, serious, critical. */
  thermal_pressure: Label.nullable().default(null),
  /** 0 to 1; null without a battery. */
  battery_level: Ratio.nullable().default(null),
  on_battery: z.boolean().nullable().default(null),
  /** Since the person at this machine last touched it; null = nobody can tell. */
  user_idle_seconds: Seconds.nullable().default(null),
  /** Each byte over its network costs money. */
  metered: z.boolean().nullable().default(null),
  sampled_at: SampledAt.prefault({}),
});
export type Hardware = z.infer<typeof Hardware>;

/** One model that this node can run now. */
export const ServedModel = z.object({
  name: ModelName,
  /** Name of the runtime that serves it, as in `runtimes`. */
  runtime: SubjectToken,
  /** In memory and ready; a model on disk costs its load time. null = the runtime does not say. */
  loaded: z.boolean().nullable().default(null),
  context_length: Tokens.nullable().default(null),
  capabilities: z.array(SubjectToken).max(32).default([]),
  /** Size on disk, which predicts the load time. */
  size_gb: Gb.nullable().default(null),
  /** Learned from real answers; null until one was seen. */
  prefill_tokens_per_second: TokensPerSecond.nullable().default(null),
  ms_per_token: Ms.nullable().default(null),
  /** How fast this runtime gets a model into memory. */
  load_gb_per_second: GbPerSecond.nullable().default(null),
  /** GPU memory that it holds now; null = not loaded, or the runtime does not say. */
  vram_gb: Gb.nullable().default(null),
  /** Which model that is; null = the runtime does not say. */
  digest: ModelDigest.nullable().default(null),
});
export type ServedModel = z.infer<typeof ServedModel>;

/** One inference runtime: a local one, or on an egress node a cloud provider. */
export const RuntimeRecord = z.object({
  name: SubjectToken,
  kind: SubjectToken,
  version: z.string().max(60).nullable().default(null),
  /** True for the loopback echo that only shows that the mesh works; never chosen when a real model is there. */
  diagnostic: z.boolean().default(false),
  healthy: z.boolean().default(true),
  /** Why it takes no jobs now, such as a cloud provider's back-off. */
  status_reason: Label.nullable().default(null),
  /** How many jobs it runs at once. */
  slots: Count.default(1),
  /** Goes on with an answer that another node began (`continue_from` of a job). */
  continues: z.boolean().default(false),
  /** Requests that it works on and that wait in it, by its own word: the mesh's and anybody's. null = it does not say. */
  running: Count.nullable().default(null),
  queued: Count.nullable().default(null),
  /** What it lets others do with its models. */
  manages: z.array(z.enum(MODEL_ACTIONS)).max(3).default([]),
  /** Of a cloud provider, as its operator or its documentation says; null = not known, or it is the node's. */
  jurisdiction: Jurisdiction.nullable().default(null),
});
export type RuntimeRecord = z.infer<typeof RuntimeRecord>;

/** Work on the node at this moment. */
export const Load = z.object({
  slots: Count.default(1),
  running: Count.default(0),
  queued: Count.default(0),
  queue_limit: Count.default(0),
  pending_prefill_tokens: Tokens.default(0),
});
export type Load = z.infer<typeof Load>;

/** A public key that jobs for this node are sealed to (HPKE, X25519); the node alone has the private half, in memory. */
export const SealKey = z.object({
  kid: SubjectToken,
  public_key: KeyBytes,
  /** Nothing is sealed to it after this moment. */
  not_after_unix_ms: UnixMs,
});
export type SealKey = z.infer<typeof SealKey>;

/** The machine is about to sleep: its last word for now. How to wake it, as far as that is known (Wake-on-LAN). */
export const SleepRecord = z.object({
  /** Of the network card that wakes it, `aa:bb:cc:dd:ee:ff`. */
  mac: MacAddress.nullable().default(null),
  /** Address at which its network hears a magic packet. */
  broadcast: Ipv4.nullable().default(null),
  /** The network of that card: who is in it can wake it. */
  network: Network.nullable().default(null),
  /** Its own address there. */
  address: Ipv4.nullable().default(null),
  /** Why it would take no jobs if it were awake: an operator's word or its owner's limits. It is not woken for jobs then. */
  closed_because: Label.nullable().default(null),
  /** From being woken to taking jobs, as routers have learned it (wake.ts); null = never seen, and always in the node's own word. */
  ready_in_seconds: Seconds.nullable().default(null),
});
export type SleepRecord = z.infer<typeof SleepRecord>;

/**
 * `healthy`: takes jobs. `degraded`: alive, but its work path is not (see `status_reason`). `draining`: finishes what it
 * has. `cordoned`: an operator stopped it. `suspended`: its owner, or what its owner has set, has taken it back for a while, or it is
 * about to sleep.
 * `leaving`: last word before an orderly stop.
 */
export const NODE_STATUSES = ["healthy", "degraded", "draining", "cordoned", "suspended", "leaving"] as const;

/** The broker has lost the connection of a node; what was on its way there, or from there, may be lost with it. */
export const NodeGone = z.object({
  node_id: NodeId,
  /** As the server names it, such as "Client Closed". */
  reason: Label.nullable().default(null),
});
export type NodeGone = z.infer<typeof NodeGone>;

/** Networks in a record, at most. */
export const MAX_NETWORKS = 8;

/** What a node says of itself every second. SEED's 节点注册示例 parses as it stands. */
export const NodeRecord = z.object({
  node_id: NodeId,
  layer: Layer,
  status: z.enum(NODE_STATUSES),
  status_reason: Label.nullable().default(null),
  schema_version: Count.default(NODE_SCHEMA_VERSION),
  version: z.string().max(60).nullable().default(null),
  hostname: Label.nullable().default(null),
  /** New at each start of the agent; with `seq` it orders heartbeats without trusting clocks. */
  boot_id: z.string().max(64).nullable().default(null),
  seq: z.number().int().min(0).max(Number.MAX_SAFE_INTEGER).default(0),
  interval_ms: Ms.default(1000),
  hardware: Hardware,
  models: z.array(ModelName).max(2000).default([]),
  served_models: z.array(ServedModel).max(2000).default([]),
  runtimes: z.array(RuntimeRecord).max(100).default([]),
  load: Load.nullable().default(null),
  /** What people call it; its id stays. */
  name: Label.nullable().default(null),
  /** Kind of machine, by which its manners towards its user are. null = it does not say. */
  profile: SubjectToken.nullable().default(null),
  /** Slots that may be used now: fewer than its runtimes have while it is hot, none while it takes no jobs. null = it does not say. */
  allowed_slots: Count.nullable().default(null),
  performance: z
    .object({
      avg_latency_ms: Ms.nullable().default(null),
      tokens_per_second: TokensPerSecond.nullable().default(null),
      uptime_hours: z.number().min(0).max(1_000_000).nullable().default(null),
    })
    .prefault({}),
  /** Relative cost of a token here, 1 = a cloud token of the same model (SEED). */
  cost_factor: z.number().min(0).max(1000).default(1),
  /** Keys to seal jobs to; a node without one takes no jobs of classes that require encryption. */
  seal_keys: z.array(SealKey).max(4).default([]),
  /** IPv4 networks that it is in: there it can wake a neighbour. */
  networks: z.array(Network).max(MAX_NETWORKS).default([]),
  /** null while it is awake. */
  sleep: SleepRecord.nullable().default(null),
  /** An operator's words for it (`tiermesh node label`). */
  labels: z.record(z.string().max(60), LabelValue).default({}),
  /** Where the machine stands, as its operator says; null = it is not said. */
  jurisdiction: Jurisdiction.nullable().default(null),
  last_heartbeat: IsoTime,
});
export type NodeRecord = z.infer<typeof NodeRecord>;
/** A node record as its sender may write it: everything SEED leaves out is optional. */
export type NodeRecordInput = z.input<typeof NodeRecord>;
