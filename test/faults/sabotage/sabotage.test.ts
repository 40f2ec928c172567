import { expect, test } from "vitest";
import { simulate } from "../simulate.ts";
import { SABOTAGES } from "./index.ts";

/** Seeds that are tried until one finds it. */
const SEEDS = 300;

test.each(SABOTAGES)("$name is found", { timeout: 120_000 }, async ({ make, foundBy, plan = {} }) => {
  for (let seed = 1; seed <= SEEDS; seed++) {
    const { violations } = await simulate(seed, { sabotage: make(), plan });
    if (violations.some(({ rule }) => rule === foundBy)) return;
  }
  expect.fail(`no seed up to ${SEEDS} breaks "${foundBy}"`);
});
