import { expect, test } from "vitest";
import { Hardware, MeshError, RuntimeRecord, ServedModel } from "../bus-schemas/index.ts";
import { KeepWarm } from "./keep-warm.ts";
import type { PlacedOrder } from "./model-orders.ts";

const MINUTE = 60_000;

/** One runtime with `tiny` of 4 GB; a test says whether it is loaded, and how a load ends. */
function setup({ manages = ["load"] as ("load" | "pull")[], gpus = [] as object[], memoryGb = 64 } = {}) {
  const state = { nowMs: 0, loaded: false as boolean | null, closed: undefined as string | undefined, fails: false };
  const loads: PlacedOrder[] = [];
  const said: string[] = [];
  const stop = new AbortController();
  const warm = new KeepWarm({
    reservedGb: 0,
    wanted: ["tiny"],
    orders: {
      carryOut: async (order: PlacedOrder) => {
        loads.push(order);
        if (state.fails) throw new MeshError("runtime_failed", "no room");
        state.loaded = true;
      },
    },
    fleet: {
      runtimes: [RuntimeRecord.parse({ name: "ollama", kind: "ollama", manages })],
      get models() {
        return [ServedModel.parse({ name: "tiny:latest", runtime: "ollama", loaded: state.loaded, size_gb: 4 })];
      },
    },
    hardware: () => Hardware.parse({ gpus, memory_free_gb: memoryGb }),
    closedBecause: () => state.closed,
    log: { info: () => undefined, warn: (line: string) => void said.push(line) } as never,
    nowMs: () => state.nowMs,
    signal: stop.signal,
  });
  /** Looks, and lets the load end. */
  const look = async () => {
    warm.look();
    await new Promise((resolve) => setImmediate(resolve));
  };
  return { state, loads, said, look };
}

test("a model of the list is loaded when it is found unloaded, and left alone while it is loaded", async () => {
  const { loads, look } = setup();
  for (let round = 0; round < 3; round++) await look();
  expect(loads).toEqual([{ action: "load", runtime: "ollama", model: "tiny:latest" }]);
});

test("one that is unloaded again and again is loaded after longer and longer pauses, up to ten minutes", async () => {
  const { state, loads, look } = setup();
  const pausesMs: number[] = [];
  let lastMs = 0;
  for (; state.nowMs <= 60 * MINUTE; state.nowMs += 1000) {
    const before = loads.length;
    await look();
    if (loads.length > before) {
      pausesMs.push(state.nowMs - lastMs);
      lastMs = state.nowMs;
    }
    state.loaded = false;
  }
  expect(pausesMs.slice(0, 5)).toEqual([0, 10_000, 20_000, 40_000, 80_000]);
  expect(Math.max(...pausesMs)).toBe(10 * MINUTE);
});

test("one that stayed for ten minutes is loaded again at once", async () => {
  const { state, loads, look } = setup();
  await look();
  for (const nowMs of [1000, 11 * MINUTE]) {
    state.nowMs = nowMs;
    await look();
  }
  state.loaded = false;
  await look();
  expect(loads).toHaveLength(2);
});

test("a load that fails is said once, and tried again later", async () => {
  const { state, loads, said, look } = setup();
  state.fails = true;
  for (; state.nowMs < 2 * MINUTE; state.nowMs += 1000) await look();
  expect(loads.length).toBeGreaterThan(2);
  expect(said).toEqual([expect.stringContaining("no room")]);
});

test.each<[string, Parameters<typeof setup>[0], number]>([
  ["too little GPU memory", { gpus: [{ name: "a", vram_free_gb: 3 }] }, 0],
  [
    "enough on two GPUs",
    {
      gpus: [
        { name: "a", vram_free_gb: 3 },
        { name: "b", vram_free_gb: 3 },
      ],
    },
    1,
  ],
  ["a GPU of which nothing is known", { gpus: [{ name: "a" }] }, 1],
  ["no GPU and too little memory", { memoryGb: 4 }, 0],
  [
    "memory that GPU and machine share",
    { gpus: [{ name: "a", unified_memory: true, vram_free_gb: 1 }], memoryGb: 9 },
    1,
  ],
  ["a runtime that lets nobody load", { manages: ["pull"] }, 0],
])("with %s it is loaded %j: %i times", async (_, parts, times) => {
  const { loads, said, look } = setup(parts);
  for (let round = 0; round < 3; round++) await look();
  expect(loads).toHaveLength(times);
  expect(said).toHaveLength(times === 0 ? 1 : 0);
});

test("nothing is loaded while the node takes no jobs, and a model that is not there is said once", async () => {
  const { state, loads, look } = setup();
  state.closed = "its owner has it";
  await look();
  expect(loads).toEqual([]);
  state.closed = undefined;
  await look();
  expect(loads).toHaveLength(1);
});

test("a runtime that does not say whether a model is loaded is asked to load it once, then with pauses", async () => {
  const { state, loads, look } = setup();
  state.loaded = null;
  await look();
  expect(loads).toHaveLength(1);
});
