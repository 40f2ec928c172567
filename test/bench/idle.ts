import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { THRIFTY_ENV, THRIFTY_FLAGS } from "../../agent/thrift.ts";
import { bundleAgent } from "../../scripts/agent-bundle.ts";
import { startTestBus } from "../kit/bus.ts";
import { descendants } from "../kit/mesh.ts";
import { startProc, type Proc } from "../kit/proc.ts";
import { tempDir } from "../kit/temp-dir.ts";
import type { Bench, BenchOptions, Report } from "./bench.ts";
import { busEnv } from "./bus-address.ts";
import { quantile } from "./harness.ts";
import { usageOf, type Usage } from "./proc-usage.ts";

/** What an agent that has nothing to do costs its machine, probes on, heartbeats once a second. */
export const idle: Bench = {
  summary:
    "an idle agent with its probes: CPU and memory over five minutes, from source and bundled, against a bare node",
  run,
};

const ROOT = path.join(import.meta.dirname, "../..");
const DEFAULT_MINUTES = 5;
/** Until nothing of the start is left: runtimes are looked for often for 30 s, and V8 tidies up. Milliseconds. */
const CALM_AFTER_MS = 45_000;
const SAMPLE_EVERY_MS = 2000;

interface Way {
  name: string;
  entry: string;
  flags: readonly string[];
  env: Readonly<Record<string, string>>;
  /** Started and stopped once before, so that compiled code lies ready as it does from the second start on. */
  warm: boolean;
}

interface Watched {
  name: string;
  pids: readonly number[];
}

async function run(report: Report, { minutes = DEFAULT_MINUTES }: BenchOptions): Promise<void> {
  if (!existsSync("/proc/self/smaps_rollup")) return report.note("needs Linux: it reads /proc");
  const folder = tempDir("bench-idle-");
  const bundle = path.join(folder.path, "bundle");
  await bundleAgent(bundle);
  const source = path.join(ROOT, "agent/main.ts");
  const thrifty = { flags: THRIFTY_FLAGS, env: THRIFTY_ENV };
  const ways: Way[] = [
    { name: "node agent/main.ts, first start", entry: source, flags: [], env: {}, warm: false },
    { name: "as tiermesh up starts it", entry: source, ...thrifty, warm: true },
    { name: "bundle, as it is", entry: path.join(bundle, "main.js"), flags: [], env: {}, warm: false },
    { name: "bundle, thrifty", entry: path.join(bundle, "main.js"), ...thrifty, warm: false },
  ];
  await using bus = await startTestBus();
  const shared = {
    ...busEnv(bus),
    ROUTING_CONFIG_PATH: path.join(ROOT, "deploy/routing.yaml"),
    TIERMESH_EMBEDDED: "off",
    TIERMESH_LOOPBACK: "true",
    LOG_LEVEL: "error",
  };
  await using stack = new AsyncDisposableStack();
  const start = async (entry: string, nodeFlags: readonly string[], env: Record<string, string>): Promise<Proc> => {
    const proc = stack.use(startProc(entry, { nodeFlags, env: { ...shared, ...env } }));
    await proc.waitForLine(/"ready":true/, 60_000);
    return proc;
  };
  await start(path.join(ROOT, "router/main.ts"), [], { TIERMESH_HOME: folder.path });
  const agents: Proc[] = [];
  for (const [i, { entry, flags, env, warm }] of ways.entries()) {
    const home = path.join(folder.path, `agent-${i}`);
    const all = {
      TIERMESH_NODE_ID: `idle-${i}`,
      TIERMESH_HOME: home,
      TIERMESH_CACHE_DIR: path.join(home, "cache"),
      ...(warm ? { NODE_COMPILE_CACHE: path.join(home, "cache", "compiled") } : {}),
      ...env,
    };
    if (warm) {
      const first = await start(entry, flags, all);
      first.kill();
      await first.exited;
    }
    agents.push(await start(entry, flags, all));
  }
  const bare = spawn(process.execPath, ["-e", "setInterval(()=>{},1000)"], { stdio: "ignore" });
  stack.defer(async () => {
    const gone = once(bare, "exit");
    bare.kill();
    await gone;
  });
  await pause(CALM_AFTER_MS);
  const watched: Watched[] = [
    { name: "floor: node -e 'setInterval(()=>{},1000)'", pids: [bare.pid ?? 0] },
    // The agent's only child that stays is its probes' process.
    ...agents.map(({ pid }, i) => ({ name: ways[i]?.name ?? "", pids: [pid, ...descendants(pid)].slice(0, 2) })),
  ];
  tell(report, watched, await watch(watched, minutes * 60_000), minutes);
  await folder.remove();
}

/** One list of samples for each process. */
async function watch(watched: readonly Watched[], forMs: number): Promise<Map<number, Usage[]>> {
  const samples = new Map<number, Usage[]>();
  const look = () => {
    for (const { pids } of watched)
      for (const pid of pids) samples.set(pid, [...(samples.get(pid) ?? []), usageOf(pid)]);
  };
  const untilMs = performance.now() + forMs;
  for (look(); performance.now() < untilMs; look()) await pause(Math.min(SAMPLE_EVERY_MS, untilMs - performance.now()));
  return samples;
}

function tell(report: Report, watched: readonly Watched[], samples: Map<number, Usage[]>, minutes: number): void {
  const floor = summary(samples.get(watched[0]?.pids[0] ?? 0) ?? [], minutes);
  report.note(`over ${minutes} minutes; memory: median (highest) of RSS / PSS / own pages, MB; CPU: % of one core`);
  for (const { name, pids } of watched) {
    report.note(name);
    const each = pids.map((pid) => summary(samples.get(pid) ?? [], minutes));
    for (const [i, sums] of each.entries())
      line(report, pids.length === 1 ? "" : (["agent", "probes"][i] ?? ""), sums, floor);
    if (each.length > 1) line(report, "both", each.reduce(added), floor);
  }
  report.note(
    "PSS counts what processes share once for all of them: it grows on a machine with fewer Node processes than this one",
  );
}

interface Summary {
  rss: [number, number];
  pss: [number, number];
  own: [number, number];
  cpuPercent: number;
  toolsPercent: number;
}

function summary(samples: readonly Usage[], minutes: number): Summary {
  const spread = (of: (usage: Usage) => number): [number, number] => {
    const values = samples.map(of);
    return [quantile(values, 0.5), quantile(values, 1)];
  };
  const percent = (of: (usage: Usage) => number) => {
    const [first, last] = [samples[0], samples.at(-1)];
    return first === undefined || last === undefined ? Number.NaN : (of(last) - of(first)) / (minutes * 600);
  };
  return {
    rss: spread(({ rssMb }) => rssMb),
    pss: spread(({ pssMb }) => pssMb),
    own: spread(({ ownMb }) => ownMb),
    cpuPercent: percent(({ cpuMs }) => cpuMs),
    toolsPercent: percent(({ toolsCpuMs }) => toolsCpuMs),
  };
}

function added(one: Summary, other: Summary): Summary {
  const sum = (a: [number, number], b: [number, number]): [number, number] => [a[0] + b[0], a[1] + b[1]];
  return {
    rss: sum(one.rss, other.rss),
    pss: sum(one.pss, other.pss),
    own: sum(one.own, other.own),
    cpuPercent: one.cpuPercent + other.cpuPercent,
    toolsPercent: one.toolsPercent + other.toolsPercent,
  };
}

function line(
  report: Report,
  what: string,
  { rss, pss, own, cpuPercent, toolsPercent }: Summary,
  floor: Summary,
): void {
  const mb = ([median, highest]: [number, number]) => `${median.toFixed(0)} (${highest.toFixed(0)})`;
  const ratio = `${(rss[0] / floor.rss[0]).toFixed(1)} × the floor's RSS, ${(own[0] / floor.own[0]).toFixed(1)} × its own pages`;
  const tools = toolsPercent > 0 ? `, the tools it ran ${toolsPercent.toFixed(2)} %` : "";
  report.note(
    `  ${what.padEnd(7)} ${mb(rss)} / ${mb(pss)} / ${mb(own)} MB, CPU ${cpuPercent.toFixed(2)} %${tools}; ${ratio}`,
  );
}
