import {
  MODEL_ACTIONS,
  ModelDigest,
  ServedModel,
  TASK_CAPABILITY,
  type Cost,
  type DeltaFrame,
  type RuntimeRecord,
} from "../../bus-schemas/index.ts";
import type { FoundModel, FoundRuntime, RuntimeKind } from "./kind.ts";
import type { LearnedRates } from "./learned-rates.ts";
import type { StreamDone } from "./openai-answer.ts";
import type { Runtime, RuntimeChunk, RuntimeJob, RuntimeSent, RuntimeState } from "./runtime.ts";

/** A bound on what one broken runtime can put into the node's heartbeat. */
const MAX_MODELS = 500;
/** What a terminal would obey; the heartbeat's texts are printed by `tiermesh nodes` and in logs. */
const CONTROL = /\p{Cc}/u;

export interface HttpRuntimeParts {
  name: string;
  kind: string;
  /** Asks the server for one answer; ends early and silently when `signal` aborts. */
  stream: (job: RuntimeJob, signal: AbortSignal) => AsyncIterable<RuntimeSent | DeltaFrame | StreamDone>;
  /** The price of a whole answer, where one is known. */
  costOf?: (model: string, done: StreamDone) => Cost | undefined;
  rates: LearnedRates;
  inspect: (signal: AbortSignal) => Promise<RuntimeState | undefined>;
  /** Milliseconds, any origin. */
  now: () => number;
  /** Called whenever a running answer brings something: the runtime lives, even if it is too busy for inspections. */
  onAnswer: () => void;
  /** The model as it was last seen: a time to first token is a load time when it was not in memory. */
  served: (model: string) => ServedModel | undefined;
  alive?: Runtime["alive"];
  hung?: Runtime["hung"];
  manage?: Runtime["manage"];
}

/** A server as a Runtime: runs jobs by its HTTP endpoint, and learns its speed from them. */
export function httpRuntime(parts: HttpRuntimeParts): Runtime {
  const { name, kind, inspect, alive, hung, manage } = parts;
  return {
    name,
    kind,
    inspect,
    run: (job, signal) => runObserved(parts, job, signal),
    ...(alive === undefined ? {} : { alive }),
    ...(hung === undefined ? {} : { hung }),
    ...(manage === undefined ? {} : { manage }),
  };
}

async function* runObserved(
  parts: HttpRuntimeParts,
  job: RuntimeJob,
  signal: AbortSignal,
): AsyncIterable<RuntimeChunk> {
  const startedMs = parts.now();
  const served = parts.served(job.model);
  let firstMs: number | undefined;
  let lastMs = startedMs;
  for await (const chunk of parts.stream(job, signal)) {
    if (chunk.type === "sent") {
      yield chunk;
      continue;
    }
    parts.onAnswer();
    if (chunk.type === "delta") {
      lastMs = parts.now();
      firstMs ??= lastMs;
      yield chunk;
      continue;
    }
    const { cachedPromptTokens, ...done } = chunk;
    if (served !== undefined && firstMs !== undefined) {
      const promptTokens = done.usage.prompt_tokens - cachedPromptTokens;
      const ttftMs = firstMs - startedMs;
      const { completion_tokens: completionTokens } = done.usage;
      if (served.loaded === false)
        parts.rates.observeLoad(parts.name, job.model, { sizeGb: served.size_gb ?? 0, ttftMs, promptTokens });
      else
        parts.rates.observe(parts.name, job.model, {
          promptTokens,
          completionTokens,
          ttftMs,
          generationMs: lastMs - firstMs,
        });
    }
    const cost = parts.costOf?.(job.model, chunk);
    yield cost === undefined ? done : { ...done, cost };
  }
}

/**
 * What a kind found, in the bus's shape. A model that does not fit it (an empty or endless name, one with control characters) is
 * left out, and of several with one name all but the first.
 */
export function toState(
  name: string,
  { kind, continuation, manage = {}, tasks = [] }: Pick<RuntimeKind, "kind" | "continuation" | "manage" | "tasks">,
  found: FoundRuntime,
): RuntimeState {
  const record: RuntimeRecord = {
    name,
    kind,
    version: found.version === null || CONTROL.test(found.version) ? null : found.version.slice(0, 60),
    diagnostic: false,
    healthy: found.healthy,
    status_reason: null,
    slots: Math.min(found.slots, 10_000),
    continues: continuation !== undefined,
    running: atMost(found.running),
    queued: atMost(found.queued),
    manages: [...(found.manages ?? MODEL_ACTIONS.filter((action) => manage[action] !== undefined))],
    jurisdiction: null,
  };
  const byName = new Map<string, ServedModel>();
  for (const model of found.models.slice(0, MAX_MODELS)) {
    const capabilities = offered(model.capabilities, tasks);
    if (byName.has(model.name) || capabilities === undefined) continue;
    for (const served of toServedModel(name, { ...model, capabilities })) byName.set(served.name, served);
  }
  return { record, models: [...byName.values()] };
}

/** Capabilities that are a task of their own. */
const TASK_WORDS = new Set(Object.values(TASK_CAPABILITY).filter((word) => word !== undefined));

/**
 * What a model can do here: whatever its kind serves. A model that writes can go on with a bare text where the server has a path
 * for that; one that is for nothing that its server serves is not offered, since a model without capabilities passes for a text model.
 */
function offered(capabilities: readonly string[], tasks: NonNullable<RuntimeKind["tasks"]>): string[] | undefined {
  const served = new Set<string>(tasks.flatMap((task) => TASK_CAPABILITY[task] ?? []));
  const can = capabilities.filter((word) => !TASK_WORDS.has(word) || served.has(word));
  if (can.length === 0 && capabilities.length > 0) return undefined;
  if (served.has("completion") && can.includes("text") && !can.includes("completion")) can.push("completion");
  return can;
}

/** The bus's bound on a count. */
function atMost(count: number | undefined): number | null {
  return count === undefined ? null : Math.min(count, 1_000_000);
}

function toServedModel(runtime: string, model: FoundModel): ServedModel[] {
  if (CONTROL.test(model.name)) return [];
  const parsed = ServedModel.safeParse({
    name: model.name,
    runtime,
    loaded: model.loaded,
    context_length: model.contextLengthTokens,
    capabilities: model.capabilities,
    size_gb: model.sizeBytes === null ? null : model.sizeBytes / 2 ** 30,
    digest: ModelDigest.safeParse(model.digest).data ?? null,
    vram_gb: typeof model.vramBytes === "number" ? model.vramBytes / 2 ** 30 : null,
  });
  return parsed.success ? [parsed.data] : [];
}
