import type { JobRequest } from "./job.ts";

/**
 * Bytes of a JSON chat body per token. English text runs at about 4, Chinese (3 bytes a character in UTF-8, about one
 * token each) at about 3; JSON's own signs make up the rest. Only used to predict times and to check the context window.
 */
const BYTES_PER_TOKEN = 3.5;

/** Length of a job's prompt, estimated from the size of its body: tokens. */
export function estimatePromptTokens(job: Pick<JobRequest, "messages">, bodyBytes: number): number {
  return Math.ceil(Math.max(bodyBytes - imageBytes(job), 0) / BYTES_PER_TOKEN);
}

/** Bytes of images inside the body: they are no text, and a model reads a picture as a few hundred tokens whatever its size. */
function imageBytes({ messages }: Pick<JobRequest, "messages">): number {
  let bytes = 0;
  for (const { content } of messages ?? []) {
    if (!Array.isArray(content)) continue;
    for (const part of content) {
      const { url } = (part["image_url"] ?? {}) as { url?: unknown };
      if (part.type === "image_url" && typeof url === "string") bytes += url.length;
    }
  }
  return bytes;
}
