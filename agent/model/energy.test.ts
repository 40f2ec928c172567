import fc from "fast-check";
import { expect, test } from "vitest";
import { Gpu } from "../../bus-schemas/node-record.ts";
import { EnergyMeter } from "./energy.ts";

const SECOND = 1000;
const HOUR = 3600 * SECOND;

function meter() {
  const clock = { nowMs: 5000 };
  const energy = new EnergyMeter(() => clock.nowMs);
  const pass = (ms: number) => (clock.nowMs += ms);
  return { clock, energy, pass };
}

const gpu = (facts: Partial<Gpu> = {}): Gpu => ({ ...Gpu.parse({ name: "A" }), uuid: "GPU-1", ...facts });
const watts = (power: number | null, ...gpus: Gpu[]) => ({ power_watts: power, gpus });
const at = (ms: number) => new Date(ms).toISOString();

test("a job alone takes the machine's power for its time: processor and cards together", () => {
  const { energy, pass } = meter();
  energy.sample(watts(40, gpu({ power_watts: 250 }), gpu({ uuid: "GPU-2", power_watts: 10 })));
  const end = energy.begin();
  pass(HOUR / 2);
  expect(end()).toBe(150);
});

test("jobs that run at once share it equally, each for the time that they share", () => {
  const { energy, pass } = meter();
  energy.sample(watts(100));
  const first = energy.begin();
  pass(HOUR);
  const second = energy.begin();
  pass(HOUR);
  expect(first()).toBe(150);
  pass(HOUR);
  expect(second()).toBe(150);
});

test("power that changes is counted for the time up to the reading", () => {
  const { energy, pass } = meter();
  energy.sample(watts(20));
  const end = energy.begin();
  pass(HOUR);
  energy.sample(watts(300));
  pass(HOUR);
  energy.sample(watts(100));
  expect(end()).toBe(400);
});

test("a counter of energy misses no peak between two readings, and is not counted twice", () => {
  const { energy, pass } = meter();
  const counted = (joules: number, ms: number) => gpu({ energy_joules: joules, power_watts: 10, sampled_at: at(ms) });
  energy.sample(watts(null, counted(1000, 0)));
  const end = energy.begin();
  pass(10 * SECOND);
  energy.sample(watts(null, counted(1000 + 3600, 10 * SECOND)));
  energy.sample(watts(null, counted(1000 + 3600, 10 * SECOND)));
  expect(end()).toBe(1);
});

test("a counter that starts again, or a clock that was set back, falls back on the power of the moment", () => {
  for (const [joules, ms] of [
    [5, 10 * SECOND],
    [2000, -SECOND],
  ] as const) {
    const { energy, pass } = meter();
    energy.sample(watts(null, gpu({ energy_joules: 1000, power_watts: 36, sampled_at: at(0) })));
    const end = energy.begin();
    pass(10 * SECOND);
    energy.sample(watts(null, gpu({ energy_joules: joules, power_watts: 36, sampled_at: at(ms) })));
    expect(end()).toBe(0.1);
  }
});

test("unknown power is null and never 0, also when it was unknown for a part of the time only", () => {
  const { energy, pass } = meter();
  const before = energy.begin();
  pass(SECOND);
  expect(before()).toBeNull();
  energy.sample(watts(null));
  const none = energy.begin();
  pass(SECOND);
  expect(none()).toBeNull();
  energy.sample(watts(50));
  const partly = energy.begin();
  pass(SECOND);
  energy.sample(watts(null));
  pass(SECOND);
  energy.sample(watts(50));
  pass(SECOND);
  expect(partly()).toBeNull();
});

test("a card whose power is unknown makes the sum unknown, unless it sleeps or is counted with the processor", () => {
  const afterAnHour = (power: number | null, ...gpus: Gpu[]) => {
    const { energy, pass } = meter();
    energy.sample(watts(power, ...gpus));
    const end = energy.begin();
    pass(HOUR);
    return end();
  };
  expect(afterAnHour(40, gpu({ power_watts: 100 }), gpu({ uuid: "GPU-2" }))).toBeNull();
  expect(afterAnHour(40, gpu({ asleep: true }))).toBe(40);
  expect(afterAnHour(40, gpu({ unified_memory: true }))).toBe(40);
  expect(afterAnHour(null, gpu({ unified_memory: true }))).toBeNull();
});

test("a job that took no time at all took nothing", () => {
  expect(meter().energy.begin()()).toBe(0);
});

test("whatever jobs come and go, together they take what the machine took while one ran", () => {
  const step = fc.record({ ms: fc.integer({ min: 0, max: 100_000 }), what: fc.constantFrom("begin", "end", "look") });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const { energy, pass } = meter();
      energy.sample(watts(360));
      const running: (() => number | null)[] = [];
      let [taken, busyMs] = [0, 0];
      for (const { ms, what } of steps) {
        pass(ms);
        if (running.length > 0) busyMs += ms;
        if (what === "look") energy.sample(watts(360));
        else if (what === "begin") running.push(energy.begin());
        else taken += running.shift()?.() ?? 0;
      }
      for (const end of running) taken += end() ?? 0;
      expect(taken).toBeCloseTo((360 * busyMs) / HOUR, 3);
    }),
  );
});
