import { setImmediate as nextTurn } from "node:timers/promises";
import { RuntimeRecord, ServedModel } from "../../bus-schemas/index.ts";
import { estimatePromptTokens, estimateTokens } from "./estimate-tokens.ts";
import type { Runtime } from "./runtime.ts";

export const LOOPBACK_MODEL = "loopback";

/**
 * The diagnostic runtime: runs no model, says so, and shows that the mesh's whole path works. It tells the prompt's length and
 * never its content, so that nobody takes its answer for a model's.
 */
export function loopbackRuntime(): Runtime {
  return {
    name: "loopback",
    kind: "loopback",
    async inspect() {
      return {
        record: RuntimeRecord.parse({ name: "loopback", kind: "loopback", diagnostic: true, slots: 4 }),
        models: [
          ServedModel.parse({
            name: LOOPBACK_MODEL,
            runtime: "loopback",
            loaded: true,
            context_length: 1_000_000,
            capabilities: ["text", "chat"],
          }),
        ],
      };
    },
    async *run(job, signal) {
      const promptChars = job.messages.reduce((sum, message) => sum + charsOf(message.content), 0);
      const pieces = [
        "[tiermesh diagnostic loopback: no model was run] ",
        `Your ${job.messages.length} message(s) with ${promptChars} characters `,
        "came through gateway or client, router and agent, ",
        "and this answer went straight back to you. ",
        "Start a runtime (for example Ollama) for real answers.",
      ];
      for (const content of pieces) {
        // A turn of the event loop between pieces, so that a cancel is seen, as with a real runtime.
        await nextTurn();
        if (signal.aborted) return;
        yield { type: "delta", content };
      }
      const usage = {
        prompt_tokens: estimatePromptTokens(job.messages),
        completion_tokens: estimateTokens(pieces.join("")),
        estimated: true,
      };
      yield { type: "done", finishReason: "stop", usage };
    },
  };
}

function charsOf(content: unknown): number {
  if (typeof content === "string") return content.length;
  if (!Array.isArray(content)) return 0;
  return content.reduce(
    (sum: number, part: { text?: unknown }) => sum + (typeof part.text === "string" ? part.text.length : 0),
    0,
  );
}
