import {
  MeshError,
  type EmbeddingInput,
  type RankedDocument,
  type TaskInput,
  type TaskOutput,
} from "../../bus-schemas/index.ts";
import { embeddingOf } from "../../service/embeddings.ts";
import { estimateJobTokens } from "./estimate-tokens.ts";
import type { StreamDone } from "./openai-answer.ts";
import { asArray, asCount, asObject, asObjects } from "./openai-chunk.ts";
import type { RuntimeJob } from "./runtime.ts";

type WholeInput = Exclude<TaskInput, { task: "completion" }>;

/**
 * The request for a task whose answer is whole. Embeddings: https://platform.openai.com/docs/api-reference/embeddings. Reranking:
 * Jina's shape, https://jina.ai/reranker, which llama-server, vLLM, SGLang and Xinference serve on `/v1/rerank`.
 */
export function wholeRequest(model: string, input: WholeInput): { path: string; body: Record<string, unknown> } {
  if (input.task === "rerank") {
    const { query, documents, topN } = input;
    // The documents are not wanted back: who asked has them.
    const some = topN === undefined ? {} : { top_n: topN };
    return { path: "/v1/rerank", body: { model, query, documents, ...some, return_documents: false } };
  }
  const { input: texts, dimensions } = input;
  // As numbers, which every server can; those that can base64 too are few.
  const shorter = dimensions === undefined ? {} : { dimensions };
  return { path: "/v1/embeddings", body: { model, input: texts, ...shorter, encoding_format: "float" } };
}

/** @throws MeshError `runtime_failed` when it is not the answer to this job; it quotes nothing */
export function readWholeAnswer(text: string, job: RuntimeJob): StreamDone {
  const { input } = job;
  if (input === undefined || input.task === "completion") throw broken("this task's answer is a stream");
  const answer = parse(text);
  const output =
    input.task === "embedding"
      ? readEmbeddings(asObject(answer), countOf(input.input))
      : readRanking(answer, input.documents.length, input.topN);
  const told = promptTokensOf(asObject(answer));
  return {
    type: "done",
    finishReason: "stop",
    usage: {
      prompt_tokens: told ?? estimateJobTokens(job),
      completion_tokens: 0,
      estimated: told === undefined,
    },
    cachedPromptTokens: 0,
    output,
  };
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw broken("it is not JSON");
  }
}

/** How many vectors are due: a text or a list of token ids is one. */
function countOf(input: EmbeddingInput): number {
  return typeof input === "string" || typeof input[0] === "number" ? 1 : input.length;
}

function readEmbeddings(answer: Record<string, unknown> | undefined, count: number): TaskOutput {
  const entries = asObjects(answer?.["data"]);
  const embeddings = new Map<number, string>();
  for (const [place, entry] of entries.entries()) {
    const vector = entry["embedding"];
    if (!Array.isArray(vector) || vector.length === 0 || !vector.every(isNumber)) throw broken("a vector is none");
    embeddings.set(asCount(entry["index"]) ?? place, embeddingOf(vector));
  }
  const ordered = Array.from({ length: count }, (_, at) => embeddings.get(at) ?? "");
  if (entries.length !== count || ordered.some((vector) => vector.length !== ordered[0]?.length || vector === ""))
    throw broken("there is not one vector of one length for each text");
  return { task: "embedding", embeddings: ordered };
}

/** `results` with `relevance_score` (Jina, Cohere and most), or a bare list with `score` (SGLang). */
function readRanking(answer: unknown, count: number, topN: number | undefined): TaskOutput {
  const entries = asObjects(Array.isArray(answer) ? answer : asArray(asObject(answer)?.["results"]));
  const ranking = new Map<number, RankedDocument>();
  for (const entry of entries) {
    const index = asCount(entry["index"]);
    const score = entry["relevance_score"] ?? entry["score"];
    if (index === undefined || index >= count || !isNumber(score)) throw broken("a document's rank is none");
    ranking.set(index, { index, score });
  }
  if (ranking.size !== Math.min(count, topN ?? count) && ranking.size !== count)
    throw broken("there is not one rank for each document");
  const best = [...ranking.values()].toSorted((a, b) => b.score - a.score);
  return { task: "rerank", ranking: best.slice(0, topN ?? count) };
}

/** OpenAI's `usage`; Jina's has a total only, and Cohere's, which Xinference speaks, stands in `meta`. */
function promptTokensOf(answer: Record<string, unknown> | undefined): number | undefined {
  const usage = asObject(answer?.["usage"]);
  const tokens = asObject(asObject(answer?.["meta"])?.["tokens"]);
  // A count of 0 for texts is a server's way of not counting.
  return [usage?.["prompt_tokens"], usage?.["total_tokens"], tokens?.["input_tokens"]]
    .map(asCount)
    .find((count) => count !== undefined && count > 0);
}

function isNumber(value: unknown): value is number {
  return typeof value === "number" && Number.isFinite(value);
}

function broken(what: string): MeshError {
  return new MeshError("runtime_failed", `the runtime's answer is not usable: ${what}`);
}
