import { expect, test } from "vitest";
import type { ChatMessage } from "../../bus-schemas/index.ts";
import { runtimeJob } from "../../test/kit/runtime-job.ts";
import { anthropicBody } from "./anthropic-request.ts";
import type { CloudModel } from "./provider.ts";

const model: CloudModel = {
  name: "claude",
  upstream: "claude-x",
  contextLengthTokens: null,
  maxOutputTokens: 4096,
  maxTokensField: "max_tokens",
  capabilities: [],
  price: undefined,
};
const body = (messages: ChatMessage[], parameters: Record<string, unknown> = {}) =>
  anthropicBody(runtimeJob({ model: "claude", messages, parameters }), model);
const hi: ChatMessage = { role: "user", content: "hi" };

test("a plain chat has the model's own name and the max_tokens that the API requires", () => {
  expect(body([hi])).toEqual({
    model: "claude-x",
    max_tokens: 4096,
    stream: true,
    messages: [{ role: "user", content: [{ type: "text", text: "hi" }] }],
  });
  expect(body([hi], { max_tokens: 7 })).toMatchObject({ max_tokens: 7 });
});

test("system and developer messages become the system prompt, wherever they stand", () => {
  const messages: ChatMessage[] = [
    { role: "system", content: "A" },
    hi,
    { role: "developer", content: [{ type: "text", text: "B" }] },
  ];
  expect(body(messages)).toMatchObject({
    system: [
      { type: "text", text: "A" },
      { type: "text", text: "B" },
    ],
    messages: [{ role: "user" }],
  });
});

test("tool calls and all their results become two turns", () => {
  const call = (id: string, args: string) => ({ id, type: "function", function: { name: "look", arguments: args } });
  const messages: ChatMessage[] = [
    hi,
    { role: "assistant", content: null, tool_calls: [call("c1", '{"at":"Paris"}'), call("c2", "")] },
    { role: "tool", tool_call_id: "c1", content: "rain" },
    { role: "tool", tool_call_id: "c2", content: "" },
    { role: "user", content: "so?" },
  ];
  expect(body(messages)["messages"]).toEqual([
    { role: "user", content: [{ type: "text", text: "hi" }] },
    {
      role: "assistant",
      content: [
        { type: "tool_use", id: "c1", name: "look", input: { at: "Paris" } },
        { type: "tool_use", id: "c2", name: "look", input: {} },
      ],
    },
    {
      role: "user",
      content: [
        { type: "tool_result", tool_use_id: "c1", content: [{ type: "text", text: "rain" }] },
        { type: "tool_result", tool_use_id: "c2", content: [] },
        { type: "text", text: "so?" },
      ],
    },
  ]);
});

test("images go by data or by address", () => {
  const image = (url: string) => ({ type: "image_url", image_url: { url } });
  const content = [
    { type: "text", text: "see" },
    image("data:image/png;base64,aGk="),
    image("https://a.example/b.jpg"),
  ];
  expect(body([{ role: "user", content }])["messages"]).toEqual([
    {
      role: "user",
      content: [
        { type: "text", text: "see" },
        { type: "image", source: { type: "base64", media_type: "image/png", data: "aGk=" } },
        { type: "image", source: { type: "url", url: "https://a.example/b.jpg" } },
      ],
    },
  ]);
});

test("tools and the choice among them", () => {
  const parameters = { type: "object", properties: { at: { type: "string" } } };
  const tools = [
    { type: "function", function: { name: "look", description: "Looks", parameters } },
    { type: "function", function: { name: "now" } },
  ];
  expect(body([hi], { tools })["tools"]).toEqual([
    { name: "look", description: "Looks", input_schema: parameters },
    { name: "now", input_schema: { type: "object", properties: {} } },
  ]);
  const choice = (tool_choice: unknown) => body([hi], { tools, tool_choice })["tool_choice"];
  expect(choice("auto")).toEqual({ type: "auto" });
  expect(choice("none")).toEqual({ type: "none" });
  expect(choice("required")).toEqual({ type: "any" });
  expect(choice({ type: "function", function: { name: "look" } })).toEqual({ type: "tool", name: "look" });
  expect(body([hi], { tool_choice: "auto" })).not.toHaveProperty("tool_choice");
});

test("parameters are brought into its bounds, hints that it has not are left out", () => {
  const parameters = {
    temperature: 1.7,
    top_p: 0.5,
    seed: 1,
    presence_penalty: 1,
    frequency_penalty: 1,
    stop: ["END", " "],
  };
  const sent = body([hi], parameters);
  expect(sent).toMatchObject({ temperature: 1, stop_sequences: ["END"] });
  for (const name of ["top_p", "seed", "presence_penalty", "frequency_penalty", "stop"])
    expect(sent).not.toHaveProperty(name);
  expect(body([hi], { top_p: 0.5 })).toMatchObject({ top_p: 0.5 });
  expect(body([hi], { stop: "X", response_format: { type: "text" } })).toMatchObject({ stop_sequences: ["X"] });
});

test.each<[string, ChatMessage[], Record<string, unknown>, string]>([
  ["JSON mode", [hi], { response_format: { type: "json_object" } }, "response_format"],
  [
    "a part that is neither text nor image",
    [{ role: "user", content: [{ type: "input_audio" }] }],
    {},
    "messages[0].content[0].type",
  ],
  [
    "an image by a file's name",
    [{ role: "user", content: [{ type: "image_url", image_url: { url: "file:///a" } }] }],
    {},
    "messages[0].content[0].image_url",
  ],
  ["a tool's result without its call", [hi, { role: "tool", content: "x" }], {}, "messages[1].tool_call_id"],
  [
    "a tool call without a name",
    [hi, { role: "assistant", tool_calls: [{ id: "a" }] }],
    {},
    "messages[1].tool_calls[0]",
  ],
  [
    "arguments that are not JSON",
    [{ role: "assistant", tool_calls: [{ id: "a", function: { name: "f", arguments: "{secret" } }] }],
    {},
    "messages[0].tool_calls[0].function.arguments",
  ],
  ["a function's result", [{ role: "function", content: "x" }], {}, "messages[0].role"],
  ["a tool that is no function", [hi], { tools: [{ type: "web_search" }] }, "tools[0]"],
  [
    "a choice that is none",
    [hi],
    { tools: [{ type: "function", function: { name: "f" } }], tool_choice: "any" },
    "tool_choice",
  ],
])("%s is refused by its field and not quoted", (_, messages, parameters, field) => {
  expect(() => body(messages, parameters)).toThrow(expect.objectContaining({ code: "bad_request", field }) as Error);
  expect(() => body(messages, parameters)).not.toThrow(/secret/);
});
