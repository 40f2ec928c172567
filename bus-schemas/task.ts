import { z } from "zod";
import { MeshError } from "./errors.ts";
import { Count } from "./units.ts";

/**
 * What a job asks a model to do. `chat`: a turn of a conversation. `completion`: what comes after a bare text. `embedding`: a
 * vector for each text. `rerank`: how well each document answers a query.
 */
export const TASKS = ["chat", "completion", "embedding", "rerank"] as const;
export const Task = z.enum(TASKS);
export type Task = z.infer<typeof Task>;

/**
 * The capability that a model must have for a task; a chat needs none, because a node that says nothing of its models is taken
 * for one with chat models.
 */
export const TASK_CAPABILITY: Readonly<Record<Task, string | undefined>> = {
  chat: undefined,
  completion: "completion",
  embedding: "embedding",
  rerank: "rerank",
};

/** Texts of one job, at most, as in OpenAI's API. */
const MAX_TEXTS = 2048;
const TokenId = z.number().int().min(0).max(10_000_000);
const TokenIds = z.array(TokenId).min(1).max(1_000_000);

/** What is embedded, in OpenAI's shape: a text or its token ids, or several of one kind. */
export const EmbeddingInput = z.union([
  z.string().min(1),
  z.array(z.string().min(1)).min(1).max(MAX_TEXTS),
  TokenIds,
  z.array(TokenIds).min(1).max(MAX_TEXTS),
]);
export type EmbeddingInput = z.infer<typeof EmbeddingInput>;

/** Content of the tasks beside chat: as secret as messages, and for the node alone. */
export const TASK_CONTENT = {
  /** Of a completion: the text that comes after the gap (fill in the middle), where the model can do that. */
  suffix: z.string().optional(),
  /** Of an embedding. */
  input: EmbeddingInput.optional(),
  /** Of a reranking. */
  query: z.string().min(1).optional(),
  documents: z.array(z.string()).min(1).max(MAX_TEXTS).optional(),
} as const;

/** What a task beside chat is asked with, whole. */
export type TaskInput =
  | { task: "completion"; prompt: string; suffix?: string }
  | { task: "embedding"; input: EmbeddingInput; dimensions?: number }
  | { task: "rerank"; query: string; documents: readonly string[]; topN?: number };

/** The fields of a job that its task's content is in. */
interface TaskFields {
  task?: Task | undefined;
  messages?: unknown;
  prompt?: string | undefined;
  suffix?: string | undefined;
  input?: EmbeddingInput | undefined;
  dimensions?: number | undefined;
  query?: string | undefined;
  documents?: readonly string[] | undefined;
  top_n?: number | undefined;
}

/**
 * The content of a task beside chat; undefined for a chat, whose content is its messages or prompt.
 * @throws MeshError `bad_request` naming the field that the task is missing
 */
export function taskInputOf(job: TaskFields): TaskInput | undefined {
  const { prompt, suffix, input, dimensions, query, documents, top_n: topN } = job;
  const task = job.task ?? "chat";
  switch (task) {
    case "chat":
      if (job.messages === undefined && prompt === undefined)
        throw new MeshError("bad_request", "messages: a job needs messages or a prompt", { field: "messages" });
      return undefined;
    case "completion":
      if (prompt === undefined) throw missing(task, "prompt");
      return { task, prompt, ...(suffix === undefined ? {} : { suffix }) };
    case "embedding":
      if (input === undefined) throw missing(task, "input");
      return { task, input, ...(dimensions === undefined ? {} : { dimensions }) };
    case "rerank":
      if (query === undefined) throw missing(task, "query");
      if (documents === undefined) throw missing(task, "documents");
      return { task, query, documents, ...(topN === undefined ? {} : { topN }) };
  }
}

function missing(task: Task, field: string): MeshError {
  return new MeshError("bad_request", `${field}: a job of the task ${task} needs it`, { field });
}

/** A document's place in the list that was sent, and how well it answers: the scale is the model's own. */
export const RankedDocument = z.object({ index: Count, score: z.number() });
export type RankedDocument = z.infer<typeof RankedDocument>;

/** What comes of a task that writes no text. It is an answer's content: nothing of it is recorded. */
export const TaskOutput = z.discriminatedUnion("task", [
  z.object({
    task: z.literal("embedding"),
    /** One for each text, in their order: 32-bit floats, little-endian, as base64, which is OpenAI's `encoding_format: base64`. */
    embeddings: z.array(z.base64()).max(MAX_TEXTS),
  }),
  z.object({
    task: z.literal("rerank"),
    /** The best first. */
    ranking: z.array(RankedDocument).max(MAX_TEXTS),
  }),
]);
export type TaskOutput = z.infer<typeof TaskOutput>;
