import { expect, test } from "vitest";
import { NodeEntry } from "../../bus-schemas/index.ts";
import { newUserNkey } from "../../service/access/nkey-file.ts";
import { nodeRecord } from "../../test/kit/router-parts.ts";
import { csv } from "../format/csv.ts";
import { inventory, inventoryRows } from "./inventory.ts";

const entry = (node_id: string, more: object = {}) =>
  NodeEntry.parse({
    node_id,
    layer: "L1",
    state: "joined",
    join_key: null,
    join_expires_unix_ms: null,
    public_key: newUserNkey().publicKey,
    by: "ada",
    reason: null,
    changed_unix_ms: Date.UTC(2026, 0, 1),
    ...more,
  });

test("machines that are heard, that are away, that ask and that were shown out are each one line", () => {
  const gpu = { name: "H200", vram_total_gb: 140, driver_version: "580.65.06" };
  const record = nodeRecord("gpu-1", {
    name: "Ada's rack",
    labels: { site: "Berlin", rack: "7" },
    hardware: { cpu_cores: 64, memory_gb: 512, platform: "linux", gpus: [gpu, { ...gpu, sick: "Xid 79" }] },
  });
  const local = nodeRecord("here");
  const items = inventory(
    [
      entry("gpu-1"),
      entry("away"),
      entry("asks", { state: "pending", hostname: "laptop" }),
      entry("out", { state: "revoked" }),
    ],
    [record, local].map((one) => ({ record: one, state: "ready" as const, seenAgoMs: 0 })),
  );
  expect(items.map(({ node_id, admitted, state }) => `${node_id} ${admitted} ${state}`)).toEqual([
    "asks asks null",
    "away joined null",
    "gpu-1 joined ready",
    "here local ready",
    "out revoked null",
  ]);
  expect(items[2]).toMatchObject({
    name: "Ada's rack",
    gpus: ["H200", "H200"],
    gpu_memory_gb: 280,
    gpu_drivers: ["580.65.06"],
    sick_gpus: ["H200: Xid 79"],
    admitted_at: "2026-01-01T00:00:00.000Z",
  });
  expect(items[0]?.hostname).toBe("laptop");
  const [heading = [], first = [], , third = []] = inventoryRows(items);
  expect(first).toHaveLength(heading.length);
  expect(third[heading.indexOf("labels")]).toBe("rack=7, site=Berlin");
  expect(third[heading.indexOf("gpus")]).toBe("H200; H200");
});

test("unknown GPU memory is unknown, not a sum of the rest", () => {
  const record = nodeRecord("n", { hardware: { gpus: [{ name: "A", vram_total_gb: 24 }, { name: "B" }] } });
  expect(inventory([], [{ record, state: "ready", seenAgoMs: 0 }])[0]).toMatchObject({ gpu_memory_gb: null });
});

test.each([
  ["plain", "plain"],
  ["a,b", '"a,b"'],
  ['say "x"', '"say ""x"""'],
  ["two\nlines", '"two\nlines"'],
  ['=HYPERLINK("http://x")', `"'=HYPERLINK(""http://x"")"`],
  ["+1+1", "'+1+1"],
  ["-2+3", "'-2+3"],
  ["@SUM(A1)", "'@SUM(A1)"],
  ["\t=1", "'\t=1"],
  ["\r=1", `"'\r=1"`],
  ["＝1+1", "'＝1+1"],
  ["-12.5", "-12.5"],
  ["通义", "通义"],
])("%j is the cell %s", (text, expected) => expect(csv([[text]])).toBe(`${expected}\r\n`));

test("numbers, unknown values and empty tables", () => {
  expect(csv([])).toBe("");
  expect(csv([["a", null, 0, -1.5, true]])).toBe("a,,0,-1.5,true\r\n");
});
