import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { DEFAULTS, Limits, PROFILES } from "./settings.ts";

test.each(["agent.md", "agent.zh-CN.md"])("docs/%s has every limit with its default for each profile", (file) => {
  const text = readFileSync(join(import.meta.dirname, "..", "..", "docs", file), "utf8");
  for (const field of Object.keys(Limits.shape) as (keyof Limits)[]) {
    const row = text.split("\n").find((line) => line.startsWith(`| \`${field}\``));
    // What does not count where another setting has its default stands in brackets.
    const cells = (row ?? "").split("|").map((cell) => cell.trim().replaceAll(/[`()（）]/g, ""));
    const shown = PROFILES.map((profile) => String(DEFAULTS[profile][field] ?? "null"));
    const told = cells.slice(3, 6).map((cell) => (["always", "总是", "[]"].includes(cell) ? "" : cell));
    expect([field, ...told]).toEqual([field, ...shown]);
  }
});

test("a profile's defaults are limits that may stand in a file", () => {
  for (const profile of PROFILES) expect(Limits.parse(DEFAULTS[profile])).toEqual(DEFAULTS[profile]);
});
