import { TASK_CAPABILITY, type DataClass, type JobRequestInput } from "../../bus-schemas/index.ts";
import type { MeshClient, SeenNode } from "../../client/index.ts";
import { takesJobs } from "../../client/index.ts";

/** One kind of traffic: jobs that are alike. */
export interface TrafficKind {
  /** For people: `chat P1`, `chat P2 qwen2.5`. */
  name: string;
  security_level: DataClass;
  request: JobRequestInput;
}

/** A kind that the fleet has no machine for, and the router's own word on that. */
export interface SkippedKind {
  name: string;
  reason: string;
}

/** Answers are shown, not studied. */
const MAX_TOKENS = 48;
/** Models that are asked for by name; a fleet may have hundreds. */
const MAX_MODELS = 6;

const QUESTIONS = [
  "In one short sentence: what is a mesh network?",
  "Name three colours.",
  "In one sentence: why is the sky blue?",
  "Count from one to ten.",
] as const;

/**
 * What traffic there may be: a chat of each class, each model that is in memory by its name, an embedding and a reranking where
 * there is a model for it. Each is asked of a router first, which says where it would go; what has nowhere to go is left out with the
 * reason.
 */
export async function kindsFor(
  client: Pick<MeshClient, "decide">,
  fleet: readonly SeenNode[],
): Promise<{ kinds: TrafficKind[]; skipped: SkippedKind[] }> {
  const wanted = [...chats(), ...named(fleet), ...others(fleet)];
  const kinds: TrafficKind[] = [];
  const skipped: SkippedKind[] = [];
  for (const kind of wanted) {
    const { outcome, reason } = await client.decide(kind.request);
    if (outcome === "routed") kinds.push(kind);
    else skipped.push({ name: kind.name, reason });
  }
  return { kinds, skipped };
}

function chats(): TrafficKind[] {
  return (["P0", "P1", "P2"] as const).map((level, i) => chat(`chat ${level}`, level, i));
}

/** Loaded models only: a demonstration has nobody load seventy gigabytes. */
function named(fleet: readonly SeenNode[]): TrafficKind[] {
  const names = fleet
    .filter(({ state }) => takesJobs(state))
    .flatMap(({ record }) => record.served_models)
    .filter(
      ({ loaded, capabilities }) => loaded !== false && (capabilities.length === 0 || capabilities.includes("text")),
    )
    .map(({ name }) => name);
  const models = [...new Set(names)].toSorted().slice(0, MAX_MODELS);
  // One model is what every chat gets anyhow.
  if (models.length < 2) return [];
  return models.map((model, i) => ({
    ...chat(`chat P2 ${model}`, "P2", i),
    request: { ...chat("", "P2", i).request, model },
  }));
}

function others(fleet: readonly SeenNode[]): TrafficKind[] {
  const can = (task: "embedding" | "rerank") =>
    fleet.some(({ record }) =>
      record.served_models.some(({ capabilities }) => capabilities.includes(TASK_CAPABILITY[task] ?? "")),
    );
  const [security_level, task_type] = ["P2" as const, "chat"];
  return [
    ...(can("embedding")
      ? [
          {
            name: "embedding P2",
            security_level,
            request: { task: "embedding" as const, task_type, security_level, input: [...QUESTIONS] },
          },
        ]
      : []),
    ...(can("rerank")
      ? [
          {
            name: "rerank P2",
            security_level,
            request: {
              task: "rerank" as const,
              task_type,
              security_level,
              query: "Which sentence is about light?",
              documents: [...QUESTIONS],
            },
          },
        ]
      : []),
  ];
}

function chat(name: string, security_level: DataClass, i: number): TrafficKind {
  const messages = [{ role: "user" as const, content: QUESTIONS[i % QUESTIONS.length] ?? "" }];
  return { name, security_level, request: { task_type: "chat", security_level, messages, max_tokens: MAX_TOKENS } };
}
