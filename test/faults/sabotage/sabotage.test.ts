import { expect, test } from "vitest";
import { simulate } from "../simulate.ts";
import { SABOTAGES } from "./index.ts";

/** Seeds that are tried until one finds it. */
const SEEDS = 300;

test.each(SABOTAGES)("$name is found", { timeout: 120_000 }, async ({ make, foundBy, from = 1 }) => {
  for (let seed = from; seed < from + SEEDS; seed++) {
    const { violations } = await simulate(seed, { sabotage: make() });
    if (violations.some(({ rule }) => rule === foundBy)) return;
  }
  expect.fail(`no seed up to ${from + SEEDS} breaks "${foundBy}"`);
});
