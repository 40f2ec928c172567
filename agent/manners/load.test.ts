import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { tempDir } from "../../test/kit/temp-dir.ts";
import { companyFile, loadManners, profileIn, type MannersConfig } from "./load.ts";
import { DEFAULTS } from "./settings.ts";

const root = tempDir("tiermesh-manners-");
afterAll(() => root.remove());
let count = 0;

/** Loads from files with these texts; undefined = not there. */
function load(own: string | undefined, company: string | undefined, config: Partial<MannersConfig> = {}) {
  const folder = join(root.path, `case-${count++}`);
  const file = (name: string, text: string | undefined) => {
    if (text !== undefined) writeFileSync(`${folder}-${name}`, text);
    return `${folder}-${name}`;
  };
  const at = file("company.yaml", company);
  const ownAt = file("agent.yaml", own);
  const named = own === undefined ? {} : { agentFile: ownAt };
  return loadManners({ layer: "L0", stateDir: folder, ...named, ...config }, at);
}

test("without any file the layer says what kind of machine it is, and a provider's file that it is an egress", () => {
  expect(load(undefined, undefined)).toMatchObject({ profile: "workstation", files: [], warnings: [] });
  expect(load(undefined, undefined, { layer: "L1" }).profile).toBe("server");
  expect(load(undefined, undefined, { layer: "L2", providers: "p.yaml" }).profile).toBe("egress");
});

test("the variable comes before the file, and the file before the layer", () => {
  expect(load("profile: server\n", undefined).profile).toBe("server");
  expect(load("profile: server\n", undefined, { profile: "workstation" }).profile).toBe("workstation");
});

test("where the machine stands is what the environment says, else the file, and nothing if neither does", () => {
  expect(load(undefined, undefined).jurisdiction).toBeNull();
  expect(load("jurisdiction: CN\n", undefined).jurisdiction).toBe("CN");
  expect(load("jurisdiction: CN\n", undefined, { jurisdiction: "DE" }).jurisdiction).toBe("DE");
  expect(() => load("jurisdiction: china\n", undefined)).toThrow(/jurisdiction/);
});

test("what the file says counts over the profile's defaults, and the rest of them stays", () => {
  const { limits, slots } = load(
    "user_idle_seconds: 60\nschedule: [sat]\nslots: 2\nruntime_slots: {ollama: 4, vllm: 8}\n",
    undefined,
    {
      slots: { all: undefined, by: new Map([["vllm", 16]]) },
    },
  );
  const { schedule: _, ...rest } = DEFAULTS.workstation;
  expect(limits).toEqual({ ...rest, user_idle_seconds: 60, schedules: [[{ days: [6], from: 0, to: 1440 }]] });
  expect([slots.all, [...slots.by]]).toEqual([
    2,
    [
      ["ollama", 4],
      ["vllm", 16],
    ],
  ]);
});

test("a file that loosens the company's limits is heard, changes nothing and is told of by file and field", () => {
  const { limits, warnings, files } = load(
    "user_active: true\nmax_gpu_temp_c: 70\n",
    "user_active: false\nmax_gpu_temp_c: 75\n",
    {
      layer: "L1",
    },
  );
  expect(limits).toMatchObject({ user_active: false, max_gpu_temp_c: 70 });
  const told = warnings.filter((line) => line.includes("looser"));
  expect(told).toHaveLength(1);
  expect(told[0]).toMatch(
    /agent\.yaml: user_active is looser than the company's .*company\.yaml allows, and is ignored/,
  );
  expect(files).toHaveLength(2);
});

test("the company's file in its place counts also where the environment names another", () => {
  const other = join(root.path, "other.yaml");
  writeFileSync(other, "max_gpu_temp_c: 60\n");
  const { limits } = load(undefined, "user_active: false\nmax_gpu_temp_c: 75\n", { layer: "L1", agentPolicy: other });
  expect(limits).toMatchObject({ user_active: false, max_gpu_temp_c: 60 });
});

test.skipIf(process.platform === "win32")("a company's file that others than root can change is told of", () => {
  const file = join(root.path, "open.yaml");
  writeFileSync(file, "on_battery: false\n");
  chmodSync(file, 0o666);
  const { limits, warnings } = loadManners({ layer: "L1", stateDir: root.path }, file);
  expect([limits.on_battery, warnings]).toEqual([false, [expect.stringContaining("others than root can change it")]]);
});

test.each([
  ["profile: server\nuser_idel_seconds: 5\n", ':2: user_idel_seconds: unknown key (did you mean "user_idle_seconds"?)'],
  ["schedule:\n  - mon-fri 19:00-07:00\n  - at night\n", ":3: schedule[1]: days and hours such as"],
  ["max_gpu_temp_c: hot\n", ":1: max_gpu_temp_c:"],
  ["max_other_cpu_percent: 20\nother_cpu_back_percent: 30\n", ":2: other_cpu_back_percent: must not be above"],
  ["profile: [\n", "not YAML"],
])("a bad agent.yaml names the line: %j", (text, said) => {
  expect(() => load(text, undefined)).toThrow(said);
});

test("a company's file may not say what only the machine knows, and one that is bad stops the agent", () => {
  expect(() => load(undefined, "runtime_slots: {ollama: 4}\n")).toThrow("company.yaml:1: runtime_slots: unknown key");
  expect(() => load(undefined, undefined, { agentPolicy: "/nowhere/policy.yaml" })).toThrow(
    "/nowhere/policy.yaml: cannot be read (ENOENT)",
  );
  expect(() => load(undefined, undefined, { agentFile: "/nowhere/agent.yaml" })).toThrow(
    "/nowhere/agent.yaml: cannot be read",
  );
});

test("an empty file says nothing, and profileIn reads what a file says", () => {
  expect(load("", "").profile).toBe("workstation");
  const file = join(root.path, "profile.yaml");
  expect(profileIn(file)).toBeUndefined();
  writeFileSync(file, "profile: egress\n");
  expect(profileIn(file)).toBe("egress");
});

test("the company's file has one place on each system", () => {
  expect(companyFile({}, "linux")).toBe("/etc/tiermesh/agent-policy.yaml");
  expect(companyFile({}, "darwin")).toBe("/Library/Application Support/tiermesh/agent-policy.yaml");
  expect(companyFile({ ProgramData: String.raw`D:\Data` }, "win32")).toBe(
    String.raw`D:\Data\tiermesh\agent-policy.yaml`,
  );
});
