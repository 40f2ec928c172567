import { expect, test } from "vitest";
import { NodeRecord, SHARED_STRUCTURES, STRUCTURES_VERSION, StructureTable, versionOfStructures } from "./index.ts";

test("the table of shared structures fits msgpackr's one-byte ids and no entry stands twice", () => {
  expect(StructureTable.safeParse(SHARED_STRUCTURES).success).toBe(true);
  expect(SHARED_STRUCTURES.length).toBeLessThanOrEqual(32);
  expect(new Set(SHARED_STRUCTURES.map(String)).size).toBe(SHARED_STRUCTURES.length);
});

test("a parsed heartbeat has exactly the keys of its structure, so it is sent without field names", () => {
  const record = NodeRecord.parse({
    node_id: "n",
    layer: "L0",
    status: "healthy",
    hardware: {},
    last_heartbeat: "2024-01-15T10:30:00Z",
  });
  expect(SHARED_STRUCTURES).toContainEqual(Object.keys(record));
  expect(SHARED_STRUCTURES).toContainEqual(Object.keys(record.hardware));
});

test("the version names the table: any change gives another one", () => {
  expect(versionOfStructures(SHARED_STRUCTURES)).toBe(STRUCTURES_VERSION);
  expect(STRUCTURES_VERSION).toMatch(/^[0-9a-f]{8}$/);
  const [first = [], ...rest] = SHARED_STRUCTURES;
  expect(versionOfStructures([first.toReversed(), ...rest])).not.toBe(STRUCTURES_VERSION);
});
