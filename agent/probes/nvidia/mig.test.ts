import { readFileSync } from "node:fs";
import fc from "fast-check";
import { expect, test } from "vitest";
import { migInstances, parseMigList, parseMigMemory } from "./mig.ts";

const LIST = readFileSync(new URL("../fixtures/mig-list.txt", import.meta.url), "utf8");
const QUERY = readFileSync(new URL("../fixtures/mig-query.txt", import.meta.url), "utf8");
const CARD = "GPU-a100aaaa-0000-0000-0000-000000000000";

test("MIG devices carry UUID and profile from -L and memory from -q, unknown memory stays null", () => {
  expect(migInstances(CARD, parseMigList(LIST), parseMigMemory(QUERY))).toEqual([
    { uuid: "MIG-11111111-1111-1111-1111-111111111111", profile: "3g.20gb", vram_total_gb: 19.5 },
    { uuid: "MIG-22222222-2222-2222-2222-222222222222", profile: "1g.5gb+me", vram_total_gb: null },
  ]);
});

test("a card without MIG devices, a card that is not listed and a card without UUID have none", () => {
  const listed = parseMigList(LIST);
  expect(migInstances("GPU-a100bbbb-0000-0000-0000-000000000000", listed, new Map())).toEqual([]);
  expect(migInstances("GPU-other", listed, new Map())).toEqual([]);
  expect(migInstances(null, listed, new Map())).toEqual([]);
});

test("the older spelling of MIG UUIDs and Windows line ends are understood", () => {
  const text = `GPU 0: A100 (UUID: ${CARD})\r\n  MIG 3g.20gb Device 0: (UUID: MIG-${CARD}/1/0)\r\n`;
  expect(migInstances(CARD, parseMigList(text), new Map())).toEqual([
    { uuid: `MIG-${CARD}/1/0`, profile: "3g.20gb", vram_total_gb: null },
  ]);
});

test("impossible memory is unknown, and devices beyond what a node record takes are left out", () => {
  expect(parseMigMemory(QUERY.replace("19968 MiB", "999999999 MiB")).get(CARD)?.size).toBe(0);
  const many = `GPU 0: A100 (UUID: ${CARD})\n${"  MIG 1g.5gb Device 0: (UUID: MIG-1)\n".repeat(1000)}`;
  expect(parseMigList(many).get(CARD)).toHaveLength(64);
});

test("text that is none of nvidia-smi's gives nothing and does not throw", () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      expect(parseMigList(text).size + parseMigMemory(text).size).toBe(0);
    }),
  );
});
