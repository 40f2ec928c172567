import { expect, test } from "vitest";
import { ServedModel } from "../../bus-schemas/index.ts";
import { formatModels } from "./list.ts";
import { describe } from "./order.ts";

test.each([
  [{ phase: "starting", done_bytes: null, total_bytes: null } as const, "starting"],
  [{ phase: "downloading", done_bytes: 0, total_bytes: 0 } as const, "downloading"],
  [
    { phase: "downloading", done_bytes: 859_832_320, total_bytes: 2_019_377_376 } as const,
    "downloading 42 %, 0.8 of 1.9 GB",
  ],
  [{ phase: "downloading", done_bytes: 9, total_bytes: 3 } as const, "downloading 100 %, 0.0 of 0.0 GB"],
])("progress %j is told as %s", (progress, expected) => {
  expect(describe(progress)).toBe(expected);
});

test("a model is one line; what its runtime does not say is a question mark", () => {
  const model = (fields: object) => ({ node_id: "n1", manages: [], ...ServedModel.parse({ runtime: "r", ...fields }) });
  const [, first, second] = formatModels([
    { ...model({ name: "tiny", loaded: true, context_length: 4096, size_gb: 2, vram_gb: 2.5 }), manages: ["load"] },
    model({ name: "dark\u001b[2J" }),
  ]).split("\n");
  expect(first).toMatch(/n1 +tiny +r +yes +4096 +2\.0 GB +2\.5 GB +\? +load/);
  expect(second).toMatch(/dark\?\[2J/);
});
