import { expect, test } from "vitest";
import { parseTrace, readTrace } from "./trace-file.ts";

const AZURE = `TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:15:46.6805900,374,44
2023-11-16 18:15:50.9951690,396,109
`;
const MOON = `{"timestamp": 0, "input_length": 600, "output_length": 5, "hash_ids": [0, 1]}
{"timestamp": 3000, "input_length": 1100, "output_length": 7, "hash_ids": [0, 1, 2]}
{"timestamp": 3000, "input_length": 10, "output_length": 3, "hash_ids": [0]}
`;

test("Azure's CSV and Mooncake's JSON lines are told apart by what is in them", () => {
  const [first, second] = parseTrace(AZURE, "t");
  expect([first?.promptTokens, second?.outputTokens]).toEqual([374, 109]);
  expect((second?.atMs ?? 0) - (first?.atMs ?? 0)).toBeCloseTo(4314.579, 3);
  const moon = parseTrace(MOON, "t");
  expect(moon.map(({ sessionId }) => sessionId)).toEqual(["conversation-1", "conversation-1", undefined]);
  expect(moon[1]?.blocks).toEqual([0, 1, 2]);
});

test("jobs come in the order of their times, however the lines stand", () => {
  const [head = "", ...lines] = AZURE.trim().split("\n");
  expect(parseTrace([head, ...lines.toReversed()].join("\n"), "t")).toEqual(parseTrace(AZURE, "t"));
});

test.each([
  [AZURE.replace("374,44", "374"), "t:2: expected a time and two counts"],
  [AZURE.replace("396", "many"), "t:3: expected a time"],
  [AZURE.replace("18:15:50", "soon"), "t:3: expected a time"],
  [AZURE.replace("ContextTokens", "Context"), "t:1: the heading must be"],
  ["TIMESTAMP,ContextTokens,GeneratedTokens\n", "t: holds no jobs"],
  [MOON.replace("[0, 1, 2]", "[0, 1"), "t:2: not JSON"],
  [MOON.replace("1100", '"long"'), "t:2: input_length"],
  [MOON.replace('"output_length": 3, ', ""), "t:3: output_length"],
  [MOON.replace("10,", "-10,"), "t:3: input_length"],
  ["", "t:1: neither"],
  ["<html>", "t:1: neither"],
])("a trace that is none is refused with its line: %#", (text, message) => {
  expect(() => parseTrace(text, "t")).toThrow(
    expect.objectContaining({ code: "bad_config", message: expect.stringContaining(message) as string }),
  );
});

test("a file that is not there is named", () => {
  expect(() => readTrace("/no/such/trace.csv")).toThrow("/no/such/trace.csv: cannot be read");
});
