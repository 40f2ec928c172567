import { expect, test } from "vitest";
import { replayHost, UNHURRIED } from "./fixtures/replay-host.ts";
import { ProbeError, type CommandOutput } from "./probe.ts";
import { ask, at, listOf, readJson, type Tool } from "./tool.ts";

const TOOL: Tool = { name: "pmset", programs: ["/usr/bin/pmset", "pmset"], timeoutMs: 1000 };

test("a program is looked for in each of its places, and may be in none", async () => {
  const host = replayHost((program) => (program === "pmset" ? { stdout: "well" } : undefined));
  expect(await ask(host, TOOL, ["-g"], UNHURRIED)).toBe("well");
  expect(host.asked).toEqual(["/usr/bin/pmset -g", "pmset -g"]);
  expect(await ask(replayHost(), TOOL, [], UNHURRIED)).toBeUndefined();
});

test("two probes that ask one program wait for each other, whatever becomes of the first", async () => {
  const first = Promise.withResolvers<CommandOutput>();
  let running = 0;
  const host = replayHost(undefined, {
    run: async (_program, [arg]) => {
      expect(++running).toBe(1);
      const output = arg === "one" ? await first.promise : { code: 0, stdout: "two", stderr: "" };
      running--;
      return output;
    },
  });
  const one = ask(host, TOOL, ["one"], UNHURRIED);
  const two = ask(host, TOOL, ["two"], UNHURRIED);
  first.resolve({ code: 3, stdout: "", stderr: "no \u001b[31msuch\n" });
  await expect(one).rejects.toThrow(new ProbeError('pmset answered "no ?[31msuch" (exit code 3)'));
  expect(await two).toBe("two");
});

test("JSON is found behind warnings; anything else is an error with the tool's words", () => {
  expect(readJson("rocm-smi", 'WARNING: low power\n\n{"a": 1}')).toEqual({ a: 1 });
  expect(() => readJson("rocm-smi", "ERROR: no GPU")).toThrow('rocm-smi answered "ERROR: no GPU" (exit code 0)');
  expect(() => readJson("rocm-smi", '{"a": ')).toThrow(ProbeError);
  expect(() => readJson("rocm-smi", "")).toThrow("rocm-smi answered nothing");
});

test("the way down an answer that may be anything ends in undefined", () => {
  expect(at({ a: [{ b: 2 }] }, "a", 0, "b")).toBe(2);
  expect([at(null, "a"), at("text", "length"), at({ a: 1 }, "a", "b")]).toEqual([undefined, undefined, undefined]);
  expect([listOf([1]), listOf({}), listOf(undefined)]).toEqual([[1], [], []]);
});
