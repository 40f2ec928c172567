import type { IncomingHttpHeaders } from "node:http";
import type { JobResult, RankedDocument, Usage } from "../../bus-schemas/index.ts";
import { floatsOf } from "../../service/embeddings.ts";
import { asObject, pick, toCall, type Call } from "../call.ts";
import { modelOf, optional, wrong } from "./fields.ts";

/** Tasks that write no text: embeddings in OpenAI's shape, reranking in Jina's, which Cohere's clients read too. */

export interface EmbeddingCall extends Call {
  /** Vectors as base64 instead of numbers; the official SDK asks for it unless told otherwise. */
  base64: boolean;
}

/**
 * A `POST /v1/embeddings` as a job.
 * @throws MeshError `bad_request` naming the field.
 */
export function readEmbeddingRequest(value: unknown, headers: IncomingHttpHeaders): EmbeddingCall {
  const body = asObject(value);
  if (typeof body["input"] !== "string" && !Array.isArray(body["input"]))
    throw wrong("input", "must be a text or a list of texts");
  const format = optional(body, "encoding_format", "string") ?? "float";
  if (format !== "float" && format !== "base64") throw wrong("encoding_format", "must be float or base64");
  const fields = { task: "embedding", ...pick(body, ["input", "dimensions"]), ...modelOf(body) };
  return { ...toCall(fields, body, headers), base64: format === "base64" };
}

/** The body of a finished `POST /v1/embeddings`. */
export function embeddingList({ output, model, usage }: JobResult, base64: boolean): object {
  const embeddings = output?.task === "embedding" ? output.embeddings : [];
  return {
    object: "list",
    data: embeddings.map((embedding, index) => ({
      object: "embedding",
      index,
      embedding: base64 ? embedding : floatsOf(embedding),
    })),
    model: model ?? "unknown",
    ...usageOf(usage),
  };
}

export interface RerankCall extends Call {
  documents: readonly string[];
  /** Each result says its document again. */
  returnDocuments: boolean;
}

/**
 * A `POST /v1/rerank` as a job (https://jina.ai/reranker, https://docs.cohere.com/reference/rerank); documents are texts, or
 * objects with a `text`.
 * @throws MeshError `bad_request` naming the field.
 */
export function readRerankRequest(value: unknown, headers: IncomingHttpHeaders): RerankCall {
  const body = asObject(value);
  const query = optional(body, "query", "string");
  if (query === undefined || query === "") throw wrong("query", "must be a text that is not empty");
  const given = body["documents"];
  if (!Array.isArray(given) || given.length === 0) throw wrong("documents", "must be a list of texts");
  const documents = given.map(textOf);
  const returnDocuments = optional(body, "return_documents", "boolean") ?? false;
  const fields = { task: "rerank", query, documents, ...pick(body, ["top_n"]), ...modelOf(body) };
  return { ...toCall(fields, body, headers), documents, returnDocuments };
}

function textOf(document: unknown, place: number): string {
  const text: unknown =
    typeof document === "object" && document !== null ? (document as { text?: unknown }).text : document;
  if (typeof text !== "string") throw wrong(`documents[${place}]`, "must be a text, or an object with a text");
  return text;
}

/** The body of a finished `POST /v1/rerank`. */
export function rerankList(result: JobResult, { documents, returnDocuments }: RerankCall): object {
  const { output, model, usage, job_id } = result;
  const ranking: RankedDocument[] = output?.task === "rerank" ? output.ranking : [];
  return {
    id: `rerank-${job_id}`,
    object: "list",
    model: model ?? "unknown",
    results: ranking.map(({ index, score }) => ({
      index,
      relevance_score: score,
      ...(returnDocuments ? { document: { text: documents[index] ?? "" } } : {}),
    })),
    ...usageOf(usage),
  };
}

function usageOf(usage: Usage | null): object {
  if (usage === null) return {};
  return { usage: { prompt_tokens: usage.prompt_tokens, total_tokens: usage.prompt_tokens } };
}
