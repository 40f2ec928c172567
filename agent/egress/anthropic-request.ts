import { MeshError, type ChatMessage } from "../../bus-schemas/index.ts";
import { asArray, asObject, asObjects, asText } from "../runtimes/openai-chunk.ts";
import type { RuntimeJob } from "../runtimes/runtime.ts";
import type { CloudModel } from "./provider.ts";

type Block = Record<string, unknown>;
interface Turn {
  role: "user" | "assistant";
  content: Block[];
}

/**
 * A job as the body of `POST /v1/messages` (https://docs.anthropic.com/en/api/messages). `max_tokens` is required there;
 * a system prompt is a field of its own; tool results are blocks of a user's turn. What has no counterpart and is a hint
 * (`seed`, the two penalties) is left out; what changes the answer's form is refused.
 * @throws MeshError `bad_request` naming the field.
 */
export function anthropicBody(job: RuntimeJob, model: CloudModel): Record<string, unknown> {
  const { parameters, messages } = job;
  const format = asText(asObject(parameters["response_format"])?.["type"]);
  if (format !== undefined && format !== "text") {
    const message = "response_format: this provider's API has no JSON mode; ask for JSON in the prompt, or by a tool";
    throw new MeshError("bad_request", message, { field: "response_format" });
  }
  const system = messages.flatMap((message, at) =>
    message.role === "system" || message.role === "developer" ? blocksOf(message, at) : [],
  );
  const temperature = parameters["temperature"];
  const tools = asObjects(parameters["tools"]);
  return {
    model: model.upstream,
    max_tokens: parameters["max_tokens"] ?? model.maxOutputTokens,
    stream: true,
    messages: turns(messages),
    ...(system.length === 0 ? {} : { system }),
    // 0 to 2 in a job, 0 to 1 there; and newer models refuse both at once.
    ...(typeof temperature === "number"
      ? { temperature: Math.min(1, temperature) }
      : parameters["top_p"] === undefined
        ? {}
        : { top_p: parameters["top_p"] }),
    ...stopSequences(parameters["stop"]),
    ...(tools.length === 0 ? {} : { tools: tools.map(toTool), ...toolChoice(parameters["tool_choice"]) }),
  };
}

/** Turns of one role that follow each other are one: all results of a turn's tool calls must come in one turn. */
function turns(messages: readonly ChatMessage[]): Turn[] {
  const found: Turn[] = [];
  for (const [at, message] of messages.entries()) {
    if (message.role === "system" || message.role === "developer") continue;
    if (message.role === "function")
      throw refuse(`messages[${at}].role`, "this provider's API has no functions; use tools");
    const role = message.role === "assistant" ? "assistant" : "user";
    const content = message.role === "tool" ? [toolResult(message, at)] : blocksOf(message, at);
    if (message.role === "assistant") content.push(...toolUses(message, at));
    if (content.length === 0) continue;
    const last = found.at(-1);
    if (last?.role === role) last.content.push(...content);
    else found.push({ role, content });
  }
  return found;
}

/** Empty texts are left out: the API refuses them. */
function blocksOf({ content }: ChatMessage, at: number): Block[] {
  if (typeof content === "string") return content === "" ? [] : [{ type: "text", text: content }];
  return (content ?? []).flatMap((part, place): Block[] => {
    const field = `messages[${at}].content[${place}]`;
    if (part.type === "text") {
      const text = asText(part["text"]);
      return text === undefined ? [] : [{ type: "text", text }];
    }
    if (part.type === "image_url") return [{ type: "image", source: imageSource(part["image_url"], field) }];
    throw refuse(`${field}.type`, "this provider's API takes text and images only");
  });
}

function imageSource(image: unknown, field: string): Block {
  const url = asText(asObject(image)?.["url"]) ?? asText(image) ?? "";
  const data = /^data:(image\/[a-z0-9.+-]+);base64,/i.exec(url);
  if (data !== null) return { type: "base64", media_type: data[1], data: url.slice(data[0].length) };
  if (/^https?:\/\//i.test(url)) return { type: "url", url };
  throw refuse(`${field}.image_url`, "neither a base64 data URL nor an http(s) URL");
}

function toolResult(message: ChatMessage, at: number): Block {
  const id = asText(message["tool_call_id"]);
  if (id === undefined) throw refuse(`messages[${at}].tool_call_id`, "missing");
  return { type: "tool_result", tool_use_id: id, content: blocksOf(message, at) };
}

function toolUses(message: ChatMessage, at: number): Block[] {
  return asArray(message["tool_calls"]).map((call, place) => {
    const field = `messages[${at}].tool_calls[${place}]`;
    const fn = asObject(asObject(call)?.["function"]);
    const [id, name] = [asText(asObject(call)?.["id"]), asText(fn?.["name"])];
    if (id === undefined || name === undefined) throw refuse(field, "needs an id and a function name");
    return { type: "tool_use", id, name, input: parseArguments(fn?.["arguments"], field) };
  });
}

function parseArguments(text: unknown, field: string): unknown {
  if (text === undefined || text === "") return {};
  try {
    const input = typeof text === "string" ? asObject(JSON.parse(text)) : undefined;
    if (input !== undefined) return input;
  } catch {
    // Told below.
  }
  throw refuse(`${field}.function.arguments`, "not a JSON object");
}

function toTool(tool: Record<string, unknown>, place: number): Block {
  const fn = asObject(tool["function"]);
  const name = asText(fn?.["name"]);
  if (tool["type"] !== "function" || name === undefined)
    throw refuse(`tools[${place}]`, "this provider's API takes functions with a name only");
  const description = asText(fn?.["description"]);
  return {
    name,
    ...(description === undefined ? {} : { description }),
    input_schema: asObject(fn?.["parameters"]) ?? { type: "object", properties: {} },
  };
}

/** OpenAI: auto, none, required, or one function. Anthropic: auto, none, any, or one tool. */
function toolChoice(choice: unknown): Block {
  if (choice === undefined || choice === null) return {};
  if (choice === "auto" || choice === "none") return { tool_choice: { type: choice } };
  if (choice === "required") return { tool_choice: { type: "any" } };
  const name = asText(asObject(asObject(choice)?.["function"])?.["name"]);
  if (name !== undefined) return { tool_choice: { type: "tool", name } };
  throw refuse("tool_choice", "neither auto, none, required nor one function");
}

/** Blank stop sequences are refused by the API. */
function stopSequences(stop: unknown): Block {
  const all = (Array.isArray(stop) ? stop : [stop]).filter((text) => typeof text === "string" && text.trim() !== "");
  return all.length === 0 ? {} : { stop_sequences: all };
}

function refuse(field: string, why: string): MeshError {
  return new MeshError("bad_request", `${field}: ${why}`, { field });
}
