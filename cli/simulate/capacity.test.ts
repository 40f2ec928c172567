import { expect, test } from "vitest";
import { scaled, shapeOf } from "./arrivals.ts";
import { capacityPerSecond } from "./capacity.ts";
import { parseFleetFile } from "./fleet-file.ts";

const SHAPE = { meanPromptTokens: 1000, meanOutputTokens: 100, promptVariation: 0 };
const fleet = (text: string) => parseFleetFile(`title: t\nnodes:\n${text}`, "t");
const node = (name: string, layer: string, model: string) =>
  `  - { name: ${name}, layer: ${layer}, count: 2, slots: 1, models: [{ name: ${model}, prefill_tokens_per_second: 1000, ms_per_token: 10 }] }\n`;

test("one slot that reads for a second and writes for a second does half a job a second; the cloud does not count", () => {
  expect(capacityPerSecond(fleet(node("a", "L0", "m")), SHAPE)).toBeCloseTo(1, 6);
  expect(capacityPerSecond(fleet(node("a", "L0", "m") + node("c", "L2", "m")), SHAPE)).toBeCloseTo(1, 6);
});

test("where jobs want different models, the scarcest one sets the bound", () => {
  const jobs = "jobs: [{ share: 3, model: m }, { share: 1, model: n }]\n";
  const both = fleet(node("a", "L0", "m") + node("b", "L1", "n") + jobs);
  // Three quarters of the jobs have one job a second.
  expect(capacityPerSecond(both, SHAPE)).toBeCloseTo(4 / 3, 6);
});

test("a load is stretched to its rate with its bursts, and played again from its start when it is too short", () => {
  const job = { promptTokens: 10, outputTokens: 2, blocks: [4], sessionId: "s" };
  const burst = [0, 1, 2, 97].map((atMs) => ({ ...job, atMs }));
  const played = scaled(burst, 8, 10);
  expect(played).toHaveLength(8);
  expect((played[4]?.atMs ?? 0) / 4).toBeCloseTo(100, 6);
  expect((played[3]?.atMs ?? 0) - (played[2]?.atMs ?? 0)).toBeGreaterThan(20 * ((played[1]?.atMs ?? 0) - 0));
  expect(played[4]).toMatchObject({ sessionId: "s/1", blocks: [4 + 1e9] });
  expect(shapeOf(played)).toEqual({ meanPromptTokens: 10, meanOutputTokens: 2, promptVariation: 0 });
  expect(scaled([], 5, 1)).toEqual([]);
});
