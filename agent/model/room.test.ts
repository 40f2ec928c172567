import { expect, test } from "vitest";
import { Gpu } from "../../bus-schemas/index.ts";
import { lacks } from "./room.ts";

const card = (free: number | null, unified = false) =>
  Gpu.parse({ name: "card", vram_total_gb: 24, vram_free_gb: free, unified_memory: unified });
const machine = (memory: number | null, ...gpus: Gpu[]) => ({ gpus, memory_free_gb: memory });

test("a model fits when it and a tenth more leave free what is reserved; a game's memory is gone by the card's own word", () => {
  expect(lacks({ size_gb: 10 }, machine(64, card(13)), 2)).toBeUndefined();
  expect(lacks({ size_gb: 10 }, machine(64, card(12.9)), 2)).toBe(
    "it needs about 11 GB and 12 GB are free, of which 2 must stay free",
  );
  expect(lacks({ size_gb: 10 }, machine(64, card(10)), 0)).toBe("it needs about 11 GB and 10 GB are free");
});

test("where GPU and machine share their memory that is what is free; without a GPU nothing of one is kept", () => {
  expect(lacks({ size_gb: 10 }, machine(12, card(24, true)), 2)).toContain("12 GB are free");
  expect(lacks({ size_gb: 10 }, machine(12), 2)).toBeUndefined();
});

test("what nobody knows stops nothing", () => {
  expect(lacks({ size_gb: null }, machine(1, card(1)), 8)).toBeUndefined();
  expect(lacks({ size_gb: 10 }, machine(64, card(1), card(null)), 8)).toBeUndefined();
  expect(lacks({ size_gb: 10 }, machine(null), 0)).toBeUndefined();
});
