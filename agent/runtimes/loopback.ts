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
        record: RuntimeRecord.parse({
          name: "loopback",
          kind: "loopback",
          diagnostic: true,
          slots: 4,
          continues: true,
        }),
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
      const messages = job.continues ? job.messages.slice(0, -1) : job.messages;
      const last = job.continues ? job.messages.at(-1)?.content : "";
      const begun = typeof last === "string" ? last : "";
      const promptChars = messages.reduce((sum, message) => sum + charsOf(message.content), 0);
      const whole = [
        "[tiermesh diagnostic loopback: no model was run] ",
        `Your ${messages.length} message(s) with ${promptChars} characters `,
        "came through gateway or client, router and agent, ",
        "and this answer went straight back to you. ",
        "Start a runtime (for example Ollama) for real answers.",
      ];
      const pieces = whole.join("").startsWith(begun) ? without(begun.length, whole) : whole;
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

/** The pieces behind the first `chars` characters. */
function without(chars: number, pieces: readonly string[]): string[] {
  let left = chars;
  return pieces.flatMap((piece) => {
    const rest = piece.slice(left);
    left = Math.max(0, left - piece.length);
    return rest === "" ? [] : [rest];
  });
}

function charsOf(content: unknown): number {
  if (typeof content === "string") return content.length;
  if (!Array.isArray(content)) return 0;
  return content.reduce(
    (sum: number, part: { text?: unknown }) => sum + (typeof part.text === "string" ? part.text.length : 0),
    0,
  );
}
