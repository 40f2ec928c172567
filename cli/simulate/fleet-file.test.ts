import { globSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { parseFleetFile, readFleetFile } from "./fleet-file.ts";

const GOOD = `title: Two
nodes:
  - name: a
    layer: L0
    count: 2
    slots: 1
    models: [{ name: m, prefill_tokens_per_second: 100, ms_per_token: 10 }]
`;

test("the fleets that ship can be read, and say where each node's rates come from", () => {
  const files = globSync("deploy/examples/fleet-*.yaml", { cwd: join(import.meta.dirname, "../..") });
  expect(files).toHaveLength(4);
  for (const file of files) {
    const fleet = readFleetFile(join(import.meta.dirname, "../..", file));
    expect(fleet.nodes.map(({ source }) => source ?? "")).not.toContain("");
  }
});

test("a fleet with what must be said takes defaults for the rest", () => {
  expect(parseFleetFile(GOOD, "f").jobs).toEqual([{ share: 1, security_level: "P2" }]);
  expect(parseFleetFile(GOOD, "f").nodes[0]).toMatchObject({ cost_factor: 1, network_ms: 0.5, prefix_cache_tokens: 0 });
});

test.each([
  ["count: 2", "count: 0", "f:5: nodes[0].count"],
  ["slots: 1", "slots: many", "f:6: nodes[0].slots"],
  ["layer: L0", "layer: L7", "f:4: nodes[0].layer"],
  ["slots: 1", "solts: 1", "f:3: nodes[0].slots"],
  ["slots: 1", "slots: 1\n    colour: red", "f:7: nodes[0].colour: unknown key"],
  ["ms_per_token: 10", "ms_per_token: 0", "f:7: nodes[0].models[0].ms_per_token"],
  ["name: a", "name: a.b", "f:3: nodes[0].name"],
  ["title: Two", "title: Two\njobs: [{ share: 0 }]", "f:2: jobs: no share is above 0"],
  ["title: Two", "title: [", "f:"],
  ["title: Two", "", "title"],
])("%j made %j is refused as %s", (from, to, message) => {
  expect(() => parseFleetFile(GOOD.replace(from, to), "f")).toThrow(
    expect.objectContaining({ code: "bad_config", message: expect.stringContaining(message) as string }),
  );
});

test("no file, an empty one, a too large one, two groups of one name, a bomb of aliases: each is told", () => {
  const twice = GOOD + GOOD.slice(GOOD.indexOf("  - name"));
  const bomb = Array.from({ length: 12 }, (_, i) => `a${i}: &a${i} [x,${`*a${i - 1},`.repeat(i === 0 ? 0 : 20)}]`).join(
    "\n",
  );
  for (const [text, message] of [
    ["", "f:1: title"],
    ["x".repeat(1024 * 1024 + 1), "larger than"],
    [twice, "two groups have this name"],
    [bomb, "too many aliases"],
  ] as const)
    expect(() => parseFleetFile(text, "f")).toThrow(message);
  expect(() => readFleetFile("/no/such/fleet.yaml")).toThrow("/no/such/fleet.yaml: cannot be read");
});
