import { capabilitiesOf } from "./capabilities.ts";
import type { FoundModel, RuntimeKind } from "./kind.ts";
import { asArray, asCount, asObject, asObjects, asText } from "./openai-chunk.ts";
import { isCloudName, loadOllama, pullOllama, unloadOllama } from "./ollama-models.ts";
import { ProbeFailed, type Probe } from "./probe.ts";

/** Models asked about at once for facts that cannot change; the rest is asked at the next inspections. */
const SHOWS_PER_INSPECTION = 8;

interface ShowFacts {
  capabilities: string[];
  contextLengthTokens: number | null;
  remote: boolean;
}

/** Of a model in memory; null where Ollama does not say. */
interface InMemory {
  contextLengthTokens: number | null;
  vramBytes: number | null;
}

/**
 * Ollama: /api/version, /api/tags (what is on disk), /api/ps (what is in memory), /api/show (context, capabilities; once per
 * digest). /api/ps also tells the GPU memory that a model holds (`size_vram`). Jobs go to its /v1 endpoint. Cloud models are listed like local ones but run on ollama.com: they carry
 * `remote_host` and `remote_model`, and are left out, or secret prompts would leave the machine.
 * Slots: OLLAMA_NUM_PARALLEL, which the API does not tell and which is 1 by default.
 */
export const ollama: RuntimeKind = {
  kind: "ollama",
  alivePath: "/api/version",
  continuation: {},
  defaultPorts: [11434],
  onePerMachine: true,
  manage: { load: loadOllama, unload: unloadOllama, pull: pullOllama },
  tasks: ["completion", "embedding"],
  async find(probe, signal) {
    const version = asText((await probe.object("/api/version", signal))?.["version"]);
    if (version === undefined) return undefined;
    const tags = await probe.get("/api/tags", signal);
    if (tags.status === 404) return undefined;
    const entries = asObject(tags.json)?.["models"];
    // It looks like Ollama: not knowing which models are remote, it must not pass for a plain OpenAI server.
    if (tags.status !== 200 || (entries !== null && !Array.isArray(entries))) throw new ProbeFailed("broken");
    const local = asObjects(entries).filter((entry) => !isRemote(entry));
    const running = await runningModels(probe, signal);
    const shown = await showModels(probe, local, signal);
    const models = local.flatMap((entry): FoundModel[] => {
      const name = asText(entry["name"]) ?? asText(entry["model"]);
      const show = shown.get(digestOf(entry));
      if (name === undefined || show?.remote === true) return [];
      return [
        {
          name,
          loaded: running === undefined ? null : running.has(name),
          // Loaded, it is the window in use, often smaller than the model's own.
          contextLengthTokens: running?.get(name)?.contextLengthTokens ?? show?.contextLengthTokens ?? null,
          capabilities: capabilitiesOf(name, show?.capabilities),
          sizeBytes: asBytes(entry["size"]),
          vramBytes: running?.get(name)?.vramBytes ?? null,
          digest: `sha256:${digestOf(entry).replace(/^sha256:/, "")}`,
        },
      ];
    });
    return { version, healthy: true, slots: 1, models };
  },
};

/** `-cloud` and `:cloud` are how Ollama names its cloud models: a second wall beside the two fields. */
function isRemote(entry: Record<string, unknown>): boolean {
  if (asText(entry["remote_host"]) !== undefined || asText(entry["remote_model"]) !== undefined) return true;
  return [entry["name"], entry["model"]].some((name) => typeof name === "string" && isCloudName(name));
}

function digestOf(entry: Record<string, unknown>): string {
  return asText(entry["digest"]) ?? "";
}

function asBytes(value: unknown): number | null {
  return typeof value === "number" && Number.isFinite(value) && value >= 0 ? value : null;
}

/** What is in memory, by name, with the context in use and the GPU memory held; undefined when Ollama does not tell. */
async function runningModels(probe: Probe, signal: AbortSignal): Promise<Map<string, InMemory> | undefined> {
  const list = (await probe.object("/api/ps", signal))?.["models"];
  if (list === undefined) return undefined;
  const running = new Map<string, InMemory>();
  for (const entry of asObjects(list)) {
    const name = asText(entry["name"]) ?? asText(entry["model"]);
    if (name === undefined) continue;
    const contextLengthTokens = asCount(entry["context_length"]) ?? null;
    running.set(name, { contextLengthTokens, vramBytes: asBytes(entry["size_vram"]) });
  }
  return running;
}

async function showModels(
  probe: Probe,
  entries: readonly Record<string, unknown>[],
  signal: AbortSignal,
): Promise<Map<string, ShowFacts>> {
  const known = new Map<string, ShowFacts>();
  const wanted: { digest: string; name: string }[] = [];
  for (const entry of entries) {
    const digest = digestOf(entry);
    const name = asText(entry["name"]);
    const facts = probe.memory.get(digest) as ShowFacts | undefined;
    if (facts !== undefined) known.set(digest, facts);
    else if (digest !== "" && name !== undefined) wanted.push({ digest, name });
  }
  // Forgets models that were removed, so that the memory is no larger than the list.
  const kept = new Set(entries.map(digestOf));
  for (const digest of probe.memory.keys()) if (!kept.has(digest)) probe.memory.delete(digest);
  await Promise.all(
    wanted.slice(0, SHOWS_PER_INSPECTION).map(async ({ digest, name }) => {
      const facts = await showModel(probe, name, signal);
      if (facts === undefined) return;
      probe.memory.set(digest, facts);
      known.set(digest, facts);
    }),
  );
  return known;
}

/** Undefined when Ollama does not answer this one: the model is then listed without these facts, and asked about again. */
async function showModel(probe: Probe, name: string, signal: AbortSignal): Promise<ShowFacts | undefined> {
  try {
    const answer = await probe.post("/api/show", { model: name }, signal);
    const show = answer.status === 200 ? asObject(answer.json) : undefined;
    if (show === undefined) return undefined;
    const info = asObject(show["model_info"]) ?? {};
    const architecture = asText(info["general.architecture"]);
    return {
      capabilities: asArray(show["capabilities"]).filter((word) => typeof word === "string"),
      contextLengthTokens: asCount(info[`${architecture}.context_length`]) ?? null,
      remote: isRemote(show),
    };
  } catch (error) {
    if (error instanceof ProbeFailed) return undefined;
    throw error;
  }
}
