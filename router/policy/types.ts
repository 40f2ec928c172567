import type {
  Caller,
  DataClass,
  HoursStrategy,
  Layer,
  ModelSpec,
  NodeRecord,
  RoutingPolicy,
  ScoreTerms,
  ScoringWeights,
  ServedModel,
  ToolChoice,
} from "../../bus-schemas/index.ts";

/** A job as the decision sees it: no content, only what routing needs. */
export interface RouteRequest {
  jobId: string;
  taskType: string;
  dataClass: DataClass;
  /** Undefined = any model that fits. */
  model: string | undefined;
  capabilities: readonly string[];
  promptTokens: number;
  expectedOutputTokens: number;
  /** Context window needed. */
  contextTokens: number;
  vramGb: number | undefined;
  /** The job goes to its node sealed (ADR 0011). */
  encrypted: boolean;
  anonymised: boolean;
  /** Nobody else can take it: nodes that are spared for their failures count. */
  lastResort?: true;
  sessionId: string | undefined;
  /** Absolute, on the clock of `nowMs`. */
  deadlineMs: number;
  /** Wanted time to the first token, or to the end for batches. */
  sloMs: number;
  /** Counts the time to the end instead of the first token (media). */
  batch: boolean;
  /** It goes on with an answer that another node began. */
  continues: boolean;
  /** For whom it is. For the record: nothing is decided by it. */
  caller?: Caller | undefined;
  /** Nodes already tried. */
  exclude: ReadonlySet<string>;
}

/** One node as its router knows it. */
export interface NodeView {
  record: NodeRecord;
  /** When the last heartbeat came, on the clock of `nowMs`. */
  receivedAtMs: number;
  rttMs: number;
  /** Jobs this router has there now. */
  ownInFlight: number;
  /** Jobs this router sent there that the node's last word, a heartbeat or a verdict, cannot know of. */
  dispatchedSinceHeartbeat: number;
  /** Peak-EWMA of observed over predicted time; 1 = none. */
  correction: number;
  /** When `correction` last changed, same clock. */
  correctedAtMs: number;
  /** Temperatures with backlash, degrees Celsius: a machine at the limit must not come and go with each heartbeat. */
  heldCelsius: { cpu: number | null; gpus: readonly (number | null)[] };
  /** Known to be gone until its next heartbeat: left, lost, or without responders. */
  gone: boolean;
  /** Its silence does not count: too many are silent at once, or this router itself was late. Until it is heard again. */
  excused: boolean;
  /** Why it is spared for a while though it is there: jobs failed on it in a row. */
  ejected: string | undefined;
}

/** One model on one node: what a decision chooses among. */
export interface Option {
  view: NodeView;
  served: ServedModel;
  layer: Layer;
  /** Served by the diagnostic echo. */
  diagnostic: boolean;
  /** Estimated quality of the model, 0 to 1, where nothing better is known (see quality.ts). */
  quality: number;
}

/** A routing configuration, compiled for lookups. */
export interface Policy {
  revision: string;
  /** SHA-256 of the policy's text, in hex; null when it has none, as in tests. A record names it. */
  textSha256: string | null;
  routing: RoutingPolicy;
  models: ReadonlyMap<string, ModelSpec>;
  /** `fallback_order`, and the same without L2 for jobs that level one keeps local. */
  layers: { any: readonly Layer[]; local: readonly Layer[] };
  /** SEED `cloud_forbidden`: no job of any class goes to L2. */
  cloudForbidden: boolean;
  /** Weights of task types that have their own. */
  weightsByTask: ReadonlyMap<string, ScoringWeights>;
  /** What the cloud is for at a time. */
  strategyAt: (nowMs: number) => HoursStrategy;
  /** Tariff, US dollars. */
  electricityUsdPerKwh: number;
}

/** What filters and scorers may look at beside the option and the request. */
export interface DecisionContext {
  policy: Policy;
  nowMs: number;
  /** Routers that share the jobs, this one included. */
  liveRouters: number;
  /** Level one's choice; its residency binds level two. */
  tool: ToolChoice;
  /** Layers that are tried, in this order. */
  layers: readonly Layer[];
  /** Only nodes that would meet the wanted time are looked at (filters/slo.ts). */
  inTimeOnly: boolean;
  /** What the cloud is for now. */
  strategy: HoursStrategy;
  /** Of the job's task type. */
  weights: ScoringWeights;
  /** Known quality of models at the job's task type, 0 to 1; undefined when none is known. */
  qualities: ReadonlyMap<string, number> | undefined;
  /** Where the job's session is at home, in the layer that is looked at: its prompt is probably cached there. */
  home: NodeView | undefined;
  /** No real model fits the job anywhere, so the diagnostic echo may run it. */
  diagnosticAllowed: boolean;
}

/** Removes options that must not or cannot run the job. */
export interface Filter {
  /** A subject token; it names the filter in decisions. */
  name: string;
  /** What it removes may well take the same job a moment later, or was tried with it: the node is busy, not unfit. */
  momentary?: true;
  /** @returns why the option is removed, for people, or undefined. */
  reject(option: Option, request: RouteRequest, context: DecisionContext): string | undefined;
}

/** One term of SEED's 评分公式. */
export interface Scorer {
  name: Exclude<keyof ScoreTerms, "total" | "predicted_ms">;
  /** @returns 0 (worst) to 1, absolute: it does not depend on the other options. */
  score(option: Option, request: RouteRequest, context: DecisionContext): number;
}
