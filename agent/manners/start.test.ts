import { mkdtempSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, expect, test, vi } from "vitest";
import { Gpu, Hardware, ServedModel } from "../../bus-schemas/index.ts";
import { createLog } from "../../service/log.ts";
import { tempDir } from "../../test/kit/temp-dir.ts";
import { DEFAULTS, type Limits, type Profile } from "./settings.ts";
import { startManners } from "./start.ts";
import { strictest } from "./strictest.ts";

const root = tempDir("tiermesh-start-");
const stop: AbortController[] = [];
afterEach(() => {
  for (const each of stop.splice(0)) each.abort();
});
afterAll(() => root.remove());

async function setup(profile: Profile, more: Partial<Limits> = {}, models: ServedModel[] = []) {
  const machine = { hardware: Hardware.parse({ user_idle_seconds: 4000, on_battery: false }) };
  const done: string[] = [];
  let changed = () => {};
  const abort = new AbortController();
  stop.push(abort);
  const limits = strictest({ ...DEFAULTS[profile], open_after_seconds: 0, ...more });
  const manners = startManners({
    loaded: {
      profile,
      jurisdiction: null,
      limits,
      slots: { all: undefined, by: new Map() },
      files: [],
      managedRuntimes: {},
      runtimeGpus: {},
      warnings: [],
    },
    nodeDir: mkdtempSync(join(root.path, "node-")),
    probes: {
      current: () => machine.hardware,
      onChange: (callback) => {
        changed = callback;
        return () => undefined;
      },
      first: Promise.resolve(),
    },
    desk: {
      models,
      load: () => ({ slots: 1, running: 0, queued: 0, queue_limit: 4, pending_prefill_tokens: 0 }),
      limit: (share) => void done.push(`share ${share.toFixed(2)}`),
      handBack: (reason) => void done.push(`hand back: ${reason}`),
    },
    tell: () => void done.push("tell"),
    log: createLog("test", "silent"),
    signal: abort.signal,
  });
  const see = (hardware: Partial<Hardware>) => {
    machine.hardware = { ...machine.hardware, ...hardware };
    done.length = 0;
    changed();
  };
  await vi.waitFor(() => expect(manners.closed()).toBeUndefined());
  // Once the probes' first word counts.
  await Promise.resolve();
  see({});
  return { manners, see, done };
}

test("a workstation tells first and hands back then; a server lets what runs end", async () => {
  const desk = await setup("workstation");
  desk.see({ user_idle_seconds: 0 });
  expect(desk.done).toEqual(["tell", "hand back: its user is active"]);
  expect(desk.manners.closed()).toBe("its user is active");
  const rack = await setup("server", { user_active: false });
  rack.see({ user_idle_seconds: 0 });
  expect(rack.done).toEqual(["tell"]);
  const hot = await setup("workstation");
  hot.see({ temperature_celsius: 80 });
  expect(hot.done).toEqual(["share 0.67", "tell"]);
});

test("the owner's pause hands back on every machine, their finish on none, and their resume opens", async () => {
  for (const profile of ["workstation", "server"] as const) {
    const { manners, done } = await setup(profile);
    done.length = 0;
    manners.owner.say("finish");
    manners.watch.look();
    expect(done).toEqual(["tell"]);
    manners.owner.say("pause");
    manners.watch.look();
    expect(done).toEqual(["tell", "tell", "hand back: its owner has paused it"]);
    manners.owner.resume();
    manners.watch.look();
    expect(manners.closed()).toBeUndefined();
  }
});

test("no model is loaded or downloaded on a machine that takes nothing, nor downloaded over a metered network; unloading is free", async () => {
  const { manners, see } = await setup("workstation");
  const answers = () => (["load", "pull", "unload"] as const).map((action) => manners.notNow(action));
  expect(answers()).toEqual([undefined, undefined, undefined]);
  see({ metered: true });
  expect(answers()).toEqual([undefined, "its network is metered", undefined]);
  see({ metered: null });
  expect(answers()).toEqual([undefined, undefined, undefined]);
  see({ user_idle_seconds: 0 });
  expect(answers()).toEqual(["its user is active", "its user is active", undefined]);
  const lax = await setup("server", { metered: "allow" });
  lax.see({ metered: true });
  expect(lax.manners.notNow("pull")).toBeUndefined();
});

test("reserved memory of the GPU counts for a model that is not loaded, by what the card says is free", async () => {
  const model = (name: string, loaded: boolean | null) =>
    ServedModel.parse({ name, runtime: "ollama", loaded, size_gb: 10 });
  const models = [model("cold", false), model("warm", true), model("dark", null)];
  const gpu = (free: number) => [Gpu.parse({ name: "card", vram_total_gb: 24, vram_free_gb: free })];
  const { manners, see } = await setup("server", { reserved_vram_gb: 4 }, models);
  see({ gpus: gpu(16) });
  expect(manners.noRoomFor("cold")).toBeUndefined();
  // A game takes some of it.
  see({ gpus: gpu(14) });
  expect(manners.noRoomFor("cold")).toBe("it needs about 11 GB and 14 GB are free, of which 4 must stay free");
  expect(["warm", "dark", "unknown"].map((name) => manners.noRoomFor(name))).toEqual([undefined, undefined, undefined]);
  const none = await setup("server", {}, models);
  none.see({ gpus: gpu(1) });
  expect(none.manners.noRoomFor("cold")).toBeUndefined();
});
