import { mkdirSync, readFileSync, readdirSync } from "node:fs";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { MeshClient } from "../../client/index.ts";
import { startMesh } from "../kit/mesh.ts";
import { tempDir } from "../kit/temp-dir.ts";
import type { SelfReport } from "./self-report.ts";
import { trendOf, type Trend } from "./trend.ts";

/** A job is submitted so often, milliseconds. */
const JOB_EVERY_MS = 250;
const SEGMENT_BYTES = 256 * 1024;
/** The first part of the time is not judged: code is compiled, pools and caches are filled. Share. */
const WARM_UP = 0.4;
/** Growth that is certain and more than this is a leak, by the hour. RSS is looser: what an allocator keeps is not a leak. */
const LIMITS = { heapMb: 4, rssMb: 40, handles: 12 } as const;

/** A whole mesh under gentle load for a while. @returns whether nothing leaks */
export async function soakReal(minutes: number, say: (line: string) => void): Promise<boolean> {
  const folder = tempDir("soak-");
  mkdirSync(path.join(folder.path, "reports"));
  const reports = path.join(folder.path, "reports");
  const preload = pathToFileURL(path.join(import.meta.dirname, "self-report.ts")).href;
  await using mesh = await startMesh({
    SOAK_DIR: reports,
    NODE_OPTIONS: `--import=${preload}`,
    LOG_LEVEL: "error",
    // The auditor looks up its newest four segments: these are full long before the time that is judged.
    TIERMESH_AUDIT_SEGMENT_BYTES: String(SEGMENT_BYTES),
  });
  const client = await MeshClient.connect(mesh.address);
  const untilMs = performance.now() + minutes * 60_000;
  const counts: Record<string, number> = {};
  const classes = ["P0", "P1", "P2"] as const;
  for (let i = 0; performance.now() < untilMs; i++) {
    const { status } = await client.submit({
      prompt: `soak ${i}`,
      security_level: classes[i % 3] ?? "P2",
      timeout_ms: 20_000,
    });
    counts[status] = (counts[status] ?? 0) + 1;
    await pause(JOB_EVERY_MS);
  }
  await client.close();
  say(`jobs: ${JSON.stringify(counts)}`);
  const good = judge(reports, say);
  await folder.remove();
  return good;
}

function judge(reports: string, say: (line: string) => void): boolean {
  let good = true;
  for (const name of readdirSync(reports)) {
    const all = readFileSync(path.join(reports, name), "utf8")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as SelfReport);
    const kept = all.slice(Math.floor(all.length * WARM_UP));
    const last = kept.at(-1);
    // A command that ran for a moment, or the process of one.
    if (last === undefined || kept.length < 24) continue;
    const trend = (key: keyof typeof LIMITS) => trendOf(kept.map((report) => [report.hours, report[key]]));
    const lags = kept.map(({ lagMs }) => lagMs).toSorted((a, b) => a - b);
    say(`${last.part} (${name.split(".")[0]})`);
    for (const key of ["heapMb", "rssMb", "handles"] as const) {
      const slope = trend(key);
      const leaks = slope.low > LIMITS[key];
      good &&= !leaks;
      say(`  ${key.padEnd(8)} ${last[key].toFixed(1).padStart(7)}   ${told(slope)}${leaks ? "   LEAK" : ""}`);
    }
    const [median = 0, worst = 0] = [lags[Math.floor(lags.length / 2)], lags.at(-1)];
    say(`  loop lag p99 of 5 s: median ${median.toFixed(1)} ms, worst ${worst.toFixed(1)} ms`);
  }
  return good;
}

function told({ perHour, low, high }: Trend): string {
  return `${perHour.toFixed(2)} an hour (95 %: ${low.toFixed(2)} to ${high.toFixed(2)})`;
}
