import { describe, expect, test } from "vitest";
import { Hardware, type Gpu } from "../../bus-schemas/node-record.ts";
import { CommandError, type CommandFailure } from "./command.ts";
import { MACHINES, replay, type Machine } from "./fixtures/machines.ts";
import { replayHost, UNHURRIED } from "./fixtures/replay-host.ts";
import { HardwarePicture } from "./hardware.ts";
import { PROBES } from "./index.ts";
import { ProbeError, type Probe, type ProbeHost, type Reading } from "./probe.ts";

/** What every machine has by way of node:os and systeminformation, so that no tool is needed for it. */
const ALWAYS_THERE = ["cpu", "memory", "temperature", "disk"];

const names = PROBES.map((create) => create().name);
const withTools = MACHINES.filter(({ answers }) => answers !== undefined);
const titled = (machines: readonly Machine[]) => machines.map((one) => [`${one.probe}: ${one.name}`, one] as const);

function create(name: string): Probe {
  const probe = PROBES.map((make) => make()).find((one) => one.name === name);
  if (probe === undefined) throw new Error(`no probe ${name}`);
  return probe;
}

/** What the probe says, and that a node record takes it; or the ProbeError that it throws. Anything else fails the test. */
async function read(probe: Probe, host: ProbeHost, signal = UNHURRIED): Promise<Reading | ProbeError> {
  const seen = await probe.probe(host, signal).catch((error: unknown) => {
    if (error instanceof ProbeError) return error;
    throw error;
  });
  const picture = new HardwarePicture([probe], host);
  if (!(seen instanceof ProbeError)) picture.succeeded(probe, seen);
  expect(Hardware.parse(picture.current())).toEqual(picture.current());
  // For people: one line, no control characters.
  expect(seen instanceof ProbeError ? seen.message : seen.how).toMatch(/^[\x20-\x7e]{4,400}$/);
  return seen;
}

/** No number or truth in `seen` that `good` does not have for the same device: what is not known is unknown, not something else. */
function expectNothingWrong(seen: Reading | ProbeError, good: Reading): void {
  if (seen instanceof ProbeError) return;
  const { gpus = [], ...values } = seen.values;
  const { gpus: goodGpus = [], ...goodValues } = good.values;
  expectSubset(values, goodValues);
  for (const gpu of gpus) {
    const same = goodGpus.find((one) => one.pci_address === gpu.pci_address && one.index === gpu.index);
    const like = same ?? goodGpus.find((one) => one.pci_address === gpu.pci_address || one.index === gpu.index);
    expect(like, `a device that is not there: ${JSON.stringify(gpu)}`).toBeDefined();
    if (like !== undefined) expectSubset(facts(gpu), facts(like));
  }
}

function expectSubset(seen: object, good: object): void {
  const told = Object.entries(seen).filter(([, value]) => value !== null && value !== undefined);
  expect(good).toMatchObject(Object.fromEntries(told));
}

/** The measured part of a GPU. */
function facts(gpu: Gpu) {
  const { vram_total_gb, vram_free_gb, utilization, temperature_celsius, power_watts, power_limit_watts } = gpu;
  return { vram_total_gb, vram_free_gb, utilization, temperature_celsius, power_watts, power_limit_watts };
}

async function good(machine: Machine): Promise<Reading> {
  const reading = await read(create(machine.probe), replay(machine));
  if (reading instanceof ProbeError) throw reading;
  return reading;
}

test("each probe but those that need no tool has a machine to be tried on", () => {
  const tried = new Set(MACHINES.map(({ probe }) => probe));
  expect(names.filter((name) => !tried.has(name) && !ALWAYS_THERE.includes(name))).toEqual([]);
});

/** It has a cadence of its own: one long-lived process, or NVML. */
const OWN_CADENCE = ["nvidia"];

test.each(PROBES.map((make) => [make().name, make] as const))("%s: its pauses make sense", (name, make) => {
  const { everyMs, idleEveryMs = everyMs, timeoutMs } = make();
  const startsTools = withTools.some(({ probe }) => probe === name) && !OWN_CADENCE.includes(name);
  expect(everyMs).toBeGreaterThanOrEqual(startsTools ? 5000 : 1000);
  expect(idleEveryMs).toBeGreaterThanOrEqual(everyMs);
  // Else what it says would be old before it is said again (hardware.ts).
  expect(idleEveryMs).toBeLessThan(3 * (everyMs + timeoutMs));
});

describe.each(["linux", "darwin", "win32", "freebsd"] as const)("on a bare machine with %s", (platform) => {
  test.each(names)("%s says unknown or none", async (name) => {
    const reading = await read(create(name), replayHost(undefined, { platform, arch: "arm64" }));
    if (reading instanceof ProbeError) throw reading;
    expect(reading.problem).toBeUndefined();
    if (ALWAYS_THERE.includes(name)) return;
    for (const value of Object.values(reading.values)) expect([null, []]).toContainEqual(value);
  });
});

test.each(titled(MACHINES))("%s is read, in our units", async (_title, machine) => {
  const reading = await good(machine);
  expect(reading.problem).toBeUndefined();
  expect(reading.values).toMatchObject(machine.values);
});

const NO_ANSWERS: Record<string, string> = {
  nothing: "",
  "an error with exit code 0": "Error: failed to initialise the driver, no such device\n",
  "JSON of another kind": '{"error": "Level Zero initialization failed", "gpus": [1, null, "x"], "card0": 7}',
  "bytes that are no text": "\u0000\u0001\ufffd\u001b[31m;;;|||\n|\n+=+\n",
  "megabytes of letters": "x".repeat(3_000_000),
  "megabytes of cells": "| 1 | 2 | 3 |\n".repeat(200_000),
  "megabytes of quotes and brackets": '{"a":["'.repeat(300_000),
};

describe.each(titled(withTools))("%s", (_title, machine) => {
  test.each(Object.keys(NO_ANSWERS))("a tool that answers %s gives a typed error or unknown", async (kind) => {
    const seen = await read(
      create(machine.probe),
      replay(machine, () => ({ stdout: NO_ANSWERS[kind] ?? "" })),
    );
    expectNothingWrong(seen, await good(machine));
  });

  test("the right answer with a failing exit code is not taken", async () => {
    const seen = await read(
      create(machine.probe),
      replay(machine, (stdout) => ({ stdout, code: 9 })),
    );
    expectNothingWrong(seen, await good(machine));
    if (seen instanceof ProbeError || seen.problem !== undefined) return;
    expect(seen.values).not.toMatchObject(machine.values);
  });

  test.each<CommandFailure>(["denied", "broken", "timeout", "too_large", "unkillable", "still_running"])(
    "a tool that is %s is reported",
    async (failure) => {
      const seen = await read(
        create(machine.probe),
        replay(machine, () => new CommandError(failure, "tool")),
      );
      expect(seen instanceof ProbeError || seen.problem !== undefined).toBe(true);
      expectNothingWrong(seen, await good(machine));
    },
  );

  test("an answer that was cut off anywhere gives no wrong value", async () => {
    const whole = await good(machine);
    for (let part = 1; part < 60; part++) {
      const seen = await read(
        create(machine.probe),
        replay(machine, (stdout) => ({ stdout: stdout.slice(0, (stdout.length * part) / 60) })),
      );
      expectNothingWrong(seen, whole);
    }
  });

  test("an answer without any one of its lines, or with it twice, gives no wrong value", async () => {
    const whole = await good(machine);
    const lines = Math.max(...Object.values(machine.answers ?? {}).map((answer) => answer.split("\n").length));
    for (let line = 0; line < lines; line++) {
      for (const times of [0, 2]) {
        const changed = (stdout: string) =>
          stdout
            .split("\n")
            .flatMap((text, at) => Array<string>(at === line ? times : 1).fill(text))
            .join("\n");
        expectNothingWrong(
          await read(
            create(machine.probe),
            replay(machine, (stdout) => ({ stdout: changed(stdout) })),
          ),
          whole,
        );
      }
    }
  });

  test("headings and keys of another version give unknown, never another value", async () => {
    const whole = await good(machine);
    const renamed = (stdout: string) =>
      stdout.replace(/(?<![\w.])[A-Z][A-Za-z]+(?=[-: "(%|])/g, (word) => `New${word}`);
    expectNothingWrong(
      await read(
        create(machine.probe),
        replay(machine, (stdout) => ({ stdout: renamed(stdout) })),
      ),
      whole,
    );
  });

  test("a tool that hangs is stopped when the probe's time is up", async () => {
    const started = Promise.withResolvers<void>();
    const limit = new AbortController();
    const run: ProbeHost["run"] = (program, _args, _options, signal) =>
      new Promise((_resolve, reject) => {
        started.resolve();
        signal.addEventListener("abort", () => reject(new CommandError("aborted", program)));
        if (signal.aborted) reject(new CommandError("aborted", program));
      });
    const reading = read(create(machine.probe), replay(machine, undefined, { run }), limit.signal);
    await started.promise;
    limit.abort();
    expectNothingWrong(await reading, await good(machine));
  });
});
