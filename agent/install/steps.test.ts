import { expect, test } from "vitest";
import { MeshError } from "../../bus-schemas/index.ts";
import { takeSteps, type Step } from "./steps.ts";

const quiet = () => undefined;

function recorder() {
  const log: string[] = [];
  const step = (name: string, how: "changes" | "is there" = "changes"): Step => ({
    name,
    take: async () => {
      log.push(`do ${name}`);
      return how === "changes" ? () => void log.push(`undo ${name}`) : undefined;
    },
  });
  const failing = (error: unknown): Step => ({ name: "the last", take: () => Promise.reject(error) });
  return { log, step, failing };
}

test("a step that fails has those before it taken back, the last one first, and only what they changed", async () => {
  const { log, step, failing } = recorder();
  const steps = [step("a"), step("b", "is there"), step("c"), failing(new MeshError("conflict", "no", { field: "x" }))];
  await expect(takeSteps(steps, quiet)).rejects.toMatchObject({
    code: "conflict",
    field: "x",
    message: "no; the machine is as it was before",
  });
  expect(log).toEqual(["do a", "do b", "do c", "undo c", "undo a"]);
});

test("what was changed is told, and can be taken back later", async () => {
  const { log, step } = recorder();
  const said: string[] = [];
  const taken = await takeSteps([step("a"), step("b", "is there")], (line) => said.push(line));
  expect([taken.changed, said]).toEqual([["a"], ["a"]]);
  expect(await taken.undo()).toEqual([]);
  expect(log.at(-1)).toBe("undo a");
});

test.each([
  ["ENOSPC", "bad_config", "no space left for /x; free some"],
  ["EACCES", "forbidden", "run as root"],
  ["EROFS", "forbidden", "read-only"],
  ["EIO", "internal", "the last: broken"],
])("%s of the system is told in words that say what to do", async (code, kind, words) => {
  const { failing } = recorder();
  const cause = Object.assign(new Error("broken"), { code, path: "/x" });
  await expect(takeSteps([failing(cause)], quiet)).rejects.toMatchObject({
    code: kind,
    message: expect.stringContaining(words),
  });
  await expect(takeSteps([failing(cause)], quiet)).rejects.toThrow(/nothing was changed$/);
});

test("a copy that fails is told by where it was to go", async () => {
  const { failing } = recorder();
  const cause = Object.assign(new Error("x"), { code: "EROFS", path: "/from", dest: "/usr/local/bin/agent" });
  await expect(takeSteps([failing(cause)], quiet)).rejects.toThrow(/^\/usr\/local\/bin\/agent is on a read-only/);
});

test("what cannot be taken back is named, and the rest is taken back all the same", async () => {
  const { log, step, failing } = recorder();
  const stuck: Step = { name: "stuck", take: async () => () => Promise.reject(new Error("held")) };
  await expect(takeSteps([step("a"), stuck, failing(new Error("x"))], quiet)).rejects.toThrow(
    /could not be taken back: stuck \(held\)$/,
  );
  expect(log).toEqual(["do a", "undo a"]);
});
