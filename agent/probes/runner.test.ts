import { expect, test } from "vitest";
import { replayHost, UNHURRIED } from "./fixtures/replay-host.ts";
import { ProbeError, type Probe, type Reading } from "./probe.ts";
import { runProbe, startProbeLoops } from "./runner.ts";

const READING: Reading = { values: { cpu_cores: 4 }, how: "test" };

function probeOf(probe: Probe["probe"], timeoutMs = 10_000): Probe {
  return { name: "test", fills: "cpu", everyMs: 1, timeoutMs, probe };
}

/** Collects what the loops tell; `next` waits for one more event. */
function listener() {
  const waiting: PromiseWithResolvers<string>[] = [];
  const told: string[] = [];
  const tell = (event: string) => {
    const first = waiting.shift();
    if (first === undefined) told.push(event);
    else first.resolve(event);
  };
  return {
    onReading: () => tell("reading"),
    onFailure: (_probe: Probe, message: string) => tell(message),
    next: (): Promise<string> => {
      const event = told.shift();
      if (event !== undefined) return Promise.resolve(event);
      const later = Promise.withResolvers<string>();
      waiting.push(later);
      return later.promise;
    },
  };
}

test("a probe that obeys its signal is told off for its time", async () => {
  const obedient = probeOf(
    (_host, signal) =>
      new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(signal.reason as Error))),
    20,
  );
  expect(await runProbe(obedient, replayHost(), UNHURRIED)).toEqual({
    type: "failed",
    message: "took longer than 0.02 s",
  });
});

test("a probe's own words reach people, a system error's path does not", async () => {
  const own = probeOf(() => Promise.reject(new ProbeError("the sensor is unplugged")));
  const system = probeOf(() => Promise.reject(Object.assign(new Error("EACCES: /home/someone"), { code: "EACCES" })));
  const odd = probeOf(() => Promise.reject(new Error("secret")));
  const host = replayHost();
  expect(await runProbe(own, host, UNHURRIED)).toMatchObject({ message: "the sensor is unplugged" });
  expect(await runProbe(system, host, UNHURRIED)).toMatchObject({ message: "failed with EACCES" });
  expect(await runProbe(odd, host, UNHURRIED)).toMatchObject({ message: "failed unexpectedly" });
});

test("a probe that throws at once, and one that fails, is run again", async () => {
  let runs = 0;
  const flaky = probeOf(() => {
    runs++;
    if (runs === 1) throw new Error("at once");
    return runs === 2 ? Promise.reject(new ProbeError("later")) : Promise.resolve(READING);
  });
  const events = listener();
  const stop = new AbortController();
  const loops = startProbeLoops([flaky], replayHost(), events, stop.signal);
  expect(await events.next()).toBe("failed unexpectedly");
  expect(await events.next()).toBe("later");
  expect(await events.next()).toBe("reading");
  stop.abort();
  await Promise.all(loops.map((loop) => loop.stop()));
});

test("a probe that hangs is abandoned and reported, never run beside itself, and run again after it ended", async () => {
  const hung = Promise.withResolvers<Reading>();
  let running = 0;
  let most = 0;
  let runs = 0;
  const hanging = probeOf(async () => {
    runs++;
    most = Math.max(most, ++running);
    try {
      return runs === 1 ? await hung.promise : READING;
    } finally {
      running--;
    }
  }, 10);
  // The other probe's readings show that the loops have gone on meanwhile.
  const other = probeOf(() => Promise.resolve(READING));
  const events = listener();
  const otherEvents = listener();
  const stop = new AbortController();
  const host = replayHost();
  const loops = [
    ...startProbeLoops([hanging], host, events, stop.signal),
    ...startProbeLoops([other], host, otherEvents, stop.signal),
  ];
  expect(await events.next()).toBe("did not end within 0.02 s; it is not started again until it does");
  for (let round = 0; round < 20; round++) await otherEvents.next();
  expect(runs).toBe(1);
  hung.resolve({ values: { cpu_cores: 99 }, how: "too late" });
  expect(await events.next()).toBe("reading");
  expect(runs).toBeGreaterThan(1);
  expect(most).toBe(1);
  stop.abort();
  await Promise.all(loops.map((loop) => loop.stop()));
});

test("stopping does not wait for a probe that hangs", async () => {
  const started = Promise.withResolvers<void>();
  const hanging = probeOf(() => {
    started.resolve();
    return new Promise(() => {});
  }, 1_000_000);
  const stop = new AbortController();
  const [loop] = startProbeLoops([hanging], replayHost(), listener(), stop.signal);
  await started.promise;
  stop.abort();
  await loop?.stop();
  expect(await runProbe(hanging, replayHost(), stop.signal)).toEqual({ type: "stopped" });
});

test("while the machine is calm a probe may be run less often; work, its user or an unknown makes it quick again", async () => {
  const host = replayHost();
  const seen: Reading["values"] = { cpu_utilization: 0.01, user_idle_seconds: 301, gpus: [] };
  const watcher = probeOf(() => Promise.resolve({ values: { ...seen }, how: "" }));
  let runs = 0;
  const costly: Probe = {
    ...probeOf(() => Promise.resolve({ values: { gpus: [] }, how: `${++runs}` })),
    idleEveryMs: 30_000,
  };
  const watched = listener();
  const events = listener();
  const stop = new AbortController();
  const both = { onReading: (probe: Probe) => (probe === costly ? events : watched).onReading(), onFailure: () => {} };
  const loops = startProbeLoops([watcher, costly], host, both, stop.signal);
  const rounds = async () => {
    for (let round = 0; round < 5; round++) await watched.next();
  };
  await events.next();
  await rounds();
  const calm = runs;
  await rounds();
  expect(runs).toBe(calm);
  host.atMs += 30_000;
  await expect.poll(() => runs).toBe(calm + 1);
  for (const awake of [{ cpu_utilization: 0.5 }, { user_idle_seconds: 1 }, { user_idle_seconds: null }]) {
    const before = runs;
    Object.assign(seen, awake);
    await expect.poll(() => runs).toBeGreaterThan(before + 1);
    Object.assign(seen, { cpu_utilization: 0.01, user_idle_seconds: 301 });
    await rounds();
  }
  stop.abort();
  await Promise.all(loops.map((loop) => loop.stop()));
});
