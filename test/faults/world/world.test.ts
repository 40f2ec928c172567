import { afterEach, expect, test } from "vitest";
import { newId } from "../../../service/ids.ts";
import { pause } from "../../../service/loop.ts";
import { takeOver } from "./globals.ts";
import { EPOCH_MS, Proc, World } from "./world.ts";

let giveBack = () => {};
afterEach(() => giveBack());

/** A world with one process in it, whose clock is ten seconds ahead. */
function world(seed = "1") {
  const made = new World(seed, true);
  giveBack = takeOver(made);
  const proc = new Proc("p", 0, made.chance.fork("p"), 10_000);
  return { world: made, proc };
}

test("time passes by events alone; each process has a wall clock of its own, and a monotonic one that is true", async () => {
  const { world: w, proc } = world();
  const seen: number[][] = [];
  w.start(proc, () => {
    setTimeout(() => seen.push([Date.now() - EPOCH_MS, performance.now()]), 3_600_000);
  });
  const realMs = process.hrtime.bigint();
  await w.run(4_000_000);
  expect(Number(process.hrtime.bigint() - realMs) / 1e6).toBeLessThan(10_000);
  expect(seen).toEqual([[3_610_000, 3_600_000]]);
  expect(new Date(w.nowMs + EPOCH_MS).getTime()).toBe(EPOCH_MS + 4_000_000);
});

test("what a step settles runs before the next step, of whatever process", async () => {
  const { world: w, proc } = world();
  const other = new Proc("q", 0, w.chance.fork("q"), 0);
  const order: string[] = [];
  w.start(proc, () => {
    void (async () => {
      for (let i = 0; i < 5; i++) await Promise.resolve();
      order.push(`${w.current?.name} after its promises`);
    })();
  });
  w.start(other, () => order.push(`${w.current?.name}`));
  await w.run(1);
  expect(order).toEqual(["p after its promises", "q"]);
});

test("a paused process gets nothing and then everything; a killed one nothing ever", async () => {
  const { world: w, proc } = world();
  const other = new Proc("q", 0, w.chance.fork("q"), 0);
  const fired: string[] = [];
  for (const [name, each] of [
    ["p", proc],
    ["q", other],
  ] as const)
    w.start(each, () => {
      let count = 0;
      setInterval(() => fired.push(`${name} ${++count} at ${w.nowMs}`), 100);
      void pause(50).then(() => fired.push(`${name} waited until ${w.nowMs}`));
    });
  await w.run(10);
  w.pause(proc, 200);
  w.kill(other);
  await w.run(350);
  // An interval that could not fire fires once, and goes on from then, as Node's.
  expect(fired).toEqual(["p waited until 210", "p 1 at 210", "p 2 at 310"]);
});

test("chance and ids come from the seed, whatever was drawn before", async () => {
  const draw = async (seed: string) => {
    const { world: w, proc } = world(seed);
    let drawn: unknown[] = [];
    w.start(proc, () => (drawn = [Math.random(), newId(), newId()]));
    await w.run(1);
    giveBack();
    return drawn;
  };
  const first = await draw("1");
  for (let i = 0; i < 7; i++) newId();
  expect(await draw("1")).toEqual(first);
  expect(await draw("2")).not.toEqual(first);
});
