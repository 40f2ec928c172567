import { stripVTControlCharacters } from "node:util";
import { expect, test } from "vitest";
import { LogPrinter } from "./log-printer.ts";

function printed(...lines: string[]): string[] {
  const out: string[] = [];
  const printer = new LogPrinter((line) => out.push(stripVTControlCharacters(line)));
  for (const line of lines) printer.onLine("agent", line);
  return out;
}

test("progress, warnings and errors are shown with their process; what is routine is not", () => {
  expect(
    printed(
      JSON.stringify({ level: 30, msg: "routine" }),
      JSON.stringify({ level: 30, msg: "fetching the model", progress: true }),
      JSON.stringify({ level: 40, msg: "no embedded runtime", err: { message: "no space left" } }),
      JSON.stringify({ level: 50, msg: "broken" }),
    ),
  ).toEqual(["agent      fetching the model", "agent      no embedded runtime: no space left", "agent      broken"]);
});

test("of a crash the first line is shown, cut; other words of native libraries are not", () => {
  expect(printed("TypeError: x is not a function", "    at main.ts:1", "llama: loading")).toEqual([
    "agent      TypeError: x is not a function",
  ]);
  expect(printed(`Error: ${"x".repeat(1000)}`)[0]?.length).toBeLessThan(220);
});

test("JSON that is no log entry harms nobody", () => {
  expect(printed("null", "5", '"text"', "[]", "{}", '{"level":"high","msg":7}', '{"level":50,"err":null}')).toEqual([
    "agent      ",
  ]);
});
