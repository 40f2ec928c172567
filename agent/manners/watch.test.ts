import { expect, test } from "vitest";
import { Hardware } from "../../bus-schemas/index.ts";
import type { MannersState, OwnersWord, Verdict } from "./manners.ts";
import type { ProcessRow } from "./process-table.ts";
import { DEFAULTS, type Limits } from "./settings.ts";
import { strictest } from "./strictest.ts";
import { MannersWatch } from "./watch.ts";

const signal = new AbortController().signal;

function setup(limits: Partial<Limits> = {}) {
  const machine = {
    hardware: Hardware.parse({ user_idle_seconds: 4000, on_battery: false, cpu_utilization: 0.05 }),
    probed: true,
    jobs: 0,
    nowMs: 0,
    said: undefined as OwnersWord | undefined,
    rows: [] as ProcessRow[] | undefined,
    times: { cores: 2, busyMs: 0, totalMs: 0 },
    lists: 0,
  };
  const told: Verdict[] = [];
  const watch = new MannersWatch({
    limits: strictest({ ...DEFAULTS.workstation, ...limits }, {}),
    hardware: () => machine.hardware,
    probed: () => machine.probed,
    jobs: () => machine.jobs,
    owner: {
      get current() {
        return machine.said === undefined ? undefined : { word: machine.said, untilUnixMs: null };
      },
    },
    clocks: { steadyMs: () => machine.nowMs, unixMs: () => machine.nowMs },
    localTime: () => ({ day: 1, minute: 0 }),
    listProcesses: () => {
      machine.lists++;
      return Promise.resolve(machine.rows);
    },
    machineTimes: () => machine.times,
    ownPid: 1,
    platform: "linux",
    onChange: (verdict) => void told.push(verdict),
  });
  return { machine, told, watch };
}

const gatesOf = (told: readonly Verdict[]) => told.map(({ closed }) => closed?.gate ?? null);
const isClosed = (state: MannersState) => state.closed.length > 0;

test("changes are told once each, with the reason, however often it looks", () => {
  const { machine, told, watch } = setup();
  watch.look();
  watch.look();
  machine.hardware = { ...machine.hardware, user_idle_seconds: 0 };
  watch.look();
  machine.hardware = { ...machine.hardware, user_idle_seconds: 5 };
  watch.look();
  expect(gatesOf(told)).toEqual([null, "user"]);
  expect(watch.verdict.closed?.reason).toBe("its user is active");
});

test("finish and then pause are two changes, for a pause also ends what runs", () => {
  const { machine, told, watch } = setup();
  watch.look();
  machine.said = "finish";
  watch.look();
  machine.said = "pause";
  watch.look();
  expect(gatesOf(told)).toEqual([null, "owner", "owner"]);
});

test("before the probes have run a workstation takes nothing, and their first word opens it without a hold", () => {
  const { machine, told, watch } = setup();
  machine.probed = false;
  const { hardware } = machine;
  machine.hardware = Hardware.parse({});
  watch.look();
  machine.probed = true;
  machine.hardware = hardware;
  watch.look();
  expect(gatesOf(told)).toEqual(["user", null]);
});

test("processes are listed only while something depends on them", async () => {
  const calm = setup();
  await calm.watch.lookAtProcesses(signal);
  expect(calm.machine.lists).toBe(0);
  calm.machine.hardware = { ...calm.machine.hardware, cpu_utilization: 0.3 };
  await calm.watch.lookAtProcesses(signal);
  expect(calm.machine.lists).toBe(1);
  const noCpu = setup({ max_other_cpu_percent: null });
  noCpu.machine.hardware = { ...noCpu.machine.hardware, cpu_utilization: 1 };
  await noCpu.watch.lookAtProcesses(signal);
  expect(noCpu.machine.lists).toBe(0);
  const apps = setup({ exclusive_apps: ["game"] });
  await apps.watch.lookAtProcesses(signal);
  expect(apps.machine.lists).toBe(1);
});

test("an exclusive app closes at the look that finds it; who it is stays on this machine", async () => {
  const { machine, told, watch } = setup({ exclusive_apps: ["game"] });
  watch.look();
  machine.rows = [{ pid: 7, parent: 1, name: "game", program: null, cpuMs: 0 }];
  await watch.lookAtProcesses(signal);
  expect(gatesOf(told)).toEqual([null, "app"]);
  expect(watch.app).toBe("game");
  expect(JSON.stringify(told)).not.toContain("game");
  machine.rows = undefined;
  await watch.lookAtProcesses(signal);
  expect(isClosed(watch.verdict.state)).toBe(true);
});

test("a load by others that lasts closes, our runtime's does not, and one whose owner nobody knows changes nothing", async () => {
  const after = async (name: string, jobs: number) => {
    const { machine, watch } = setup();
    machine.hardware = { ...machine.hardware, cpu_utilization: 0.9 };
    machine.jobs = jobs;
    for (let look = 0; look < 8; look++) {
      machine.rows = [{ pid: 7, parent: 1000, name, program: null, cpuMs: look * 5400 }];
      machine.times = { cores: 2, busyMs: look * 5400, totalMs: look * 6000 };
      machine.nowMs = look * 3000;
      await watch.lookAtProcesses(signal);
    }
    return watch.verdict.closed?.gate ?? null;
  };
  expect(await after("blender", 0)).toBe("cpu");
  expect(await after("ollama", 1)).toBeNull();
  expect(await after("python3", 1)).toBeNull();
});
