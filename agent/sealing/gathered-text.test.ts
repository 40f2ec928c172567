import { expect, test } from "vitest";
import type { DeltaFrame } from "../../bus-schemas/index.ts";
import { GatheredText } from "./gathered-text.ts";

function setup() {
  const sent: string[] = [];
  const gathered = new GatheredText(({ content }) => void sent.push(content ?? ""));
  const add = (...pieces: string[]) => pieces.map((content) => gathered.add({ type: "delta", content }));
  return { gathered, sent, add };
}

const turn = () => new Promise(setImmediate);

test("pieces of one turn are one frame, at its end; those of the next are another", async () => {
  const { sent, add } = setup();
  expect(add("a", "", "b")).toEqual([true, true, true]);
  expect(sent).toEqual([]);
  await turn();
  add("c");
  await turn();
  expect(sent).toEqual(["ab", "c"]);
  await turn();
  expect(sent).toHaveLength(2);
});

test.each<[string, DeltaFrame]>([
  ["reasoning", { type: "delta", content: "x", reasoning: "y" }],
  ["a tool call", { type: "delta", tool_calls: [{ index: 0 }] }],
  ["a long text", { type: "delta", content: "x".repeat(20_000) }],
])("%s is not gathered", (_, frame) => {
  expect(setup().gathered.add(frame)).toBe(false);
});

test("what is gathered does not grow beyond a small message, and keeps its order", async () => {
  const { sent, add } = setup();
  const pieces = ["a", "b", "c"].map((letter) => letter.repeat(10_000));
  add(...pieces);
  await turn();
  expect(sent).toEqual(pieces);
});

test("what was flushed or dropped is not sent later", async () => {
  const { gathered, sent, add } = setup();
  add("a");
  gathered.flush();
  gathered.flush();
  add("b");
  gathered.drop();
  await turn();
  expect(sent).toEqual(["a"]);
});
