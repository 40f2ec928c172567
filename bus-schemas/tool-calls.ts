import type { ToolCall } from "./job.ts";

/** A piece of a tool call in OpenAI's streaming shape. */
export interface ToolCallDelta {
  index: number;
  id?: string;
  function?: { name?: string; arguments?: string };
}

/** Tool calls of one answer; more than this is not an answer. */
const MAX_TOOL_CALLS = 128;

/** OpenAI streams a tool call in pieces of one index; here they become whole calls, in order of their index. */
export function joinToolCalls(deltas: readonly ToolCallDelta[]): ToolCall[] {
  const calls = new Map<number, ToolCall>();
  for (const { index, id, function: part } of deltas) {
    let call = calls.get(index);
    if (call === undefined) {
      if (calls.size >= MAX_TOOL_CALLS) continue;
      call = { id: "", type: "function", function: { name: "", arguments: "" } };
      calls.set(index, call);
    }
    if (id !== undefined) call.id = id;
    call.function.name += part?.name ?? "";
    call.function.arguments += part?.arguments ?? "";
  }
  return [...calls].sort(([a], [b]) => a - b).map(([, call]) => call);
}
