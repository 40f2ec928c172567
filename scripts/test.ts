/**
 * Runs the test projects and ends with one line, `N passed, N failed`, summed over all of them.
 * The fast projects run together, then integration alone, because its processes want the machine for themselves.
 * Up to three files that failed are run once more, alone: a machine that stood still for a second is no fault of
 * the code's. Such a file is named at the end as unsteady; its first failure stays in the output and wants to be understood.
 * Arguments are handed to vitest: `npm test -- router` runs the files whose path contains "router".
 */
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";

const runs = [["unit", "contract", "boundaries"], ["integration"]];
const SECOND_TRIES = 3;
const root = join(import.meta.dirname, "..");
const vitest = join(dirname(createRequire(import.meta.url).resolve("vitest/package.json")), "vitest.mjs");
const args = process.argv.slice(2);

/** The part of vitest's JSON report that is counted. */
interface Report {
  testResults: { name: string; status: string; assertionResults: { status: string }[] }[];
}

interface Outcome {
  /** By file. A file that cannot even be loaded has no tests to count, but it failed. */
  files: Map<string, { passed: number; failed: number; skipped: number }>;
  /** Unhandled errors, or no report at all: vitest says so only by its exit code. */
  brokeDown: boolean;
}

function runVitest(projects: string[], reportFile: string, filters: string[]): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(
      process.execPath,
      [
        vitest,
        "run",
        ...projects.flatMap((project) => ["--project", project]),
        "--passWithNoTests",
        "--reporter=default",
        "--reporter=json",
        `--outputFile.json=${reportFile}`,
        ...filters,
      ],
      { cwd: root, stdio: "inherit" },
    );
    const stop = (): void => void child.kill("SIGTERM");
    // Ctrl-C reaches vitest from the terminal as well; we stay to report how it ended. A SIGTERM reaches only us.
    const stay = (): void => undefined;
    process.on("SIGTERM", stop).on("SIGINT", stay);
    child.on("error", reject);
    child.on("exit", (code) => {
      process.off("SIGTERM", stop).off("SIGINT", stay);
      resolve(code ?? 1);
    });
  });
}

async function outcomeOf(projects: string[], filters: string[]): Promise<Outcome> {
  const folder = mkdtempSync(join(tmpdir(), "tiermesh-test-"));
  try {
    const reportFile = join(folder, "report.json");
    const code = await runVitest(projects, reportFile, filters);
    const files: Outcome["files"] = new Map();
    if (existsSync(reportFile)) {
      const report = JSON.parse(readFileSync(reportFile, "utf8")) as Report;
      for (const { name, status, assertionResults } of report.testResults) {
        const count = (wanted: string) => assertionResults.filter((test) => test.status === wanted).length;
        const [passed, failed] = [count("passed"), count("failed")];
        const unloaded = status === "failed" && failed === 0 ? 1 : 0;
        files.set(name, { passed, failed: failed + unloaded, skipped: assertionResults.length - passed - failed });
      }
    }
    return { files, brokeDown: code !== 0 && failedFiles(files).length === 0 };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function failedFiles(files: Outcome["files"]): string[] {
  return [...files].filter(([, { failed }]) => failed > 0).map(([name]) => name);
}

const total = { passed: 0, failed: 0, skipped: 0 };
const unsteady: string[] = [];
for (const projects of runs) {
  const { files, brokeDown } = await outcomeOf(projects, args);
  const failed = failedFiles(files);
  if (failed.length > 0 && failed.length <= SECOND_TRIES) {
    console.log(`Once more, alone: ${failed.map((file) => relative(root, file)).join(", ")}`);
    const again = await outcomeOf(projects, failed);
    for (const file of failed) {
      const second = again.files.get(file);
      if (second === undefined || again.brokeDown) continue;
      files.set(file, second);
      if (second.failed === 0) unsteady.push(relative(root, file));
    }
  }
  for (const { passed, failed: lost, skipped } of files.values()) {
    total.passed += passed;
    total.failed += lost;
    total.skipped += skipped;
  }
  if (brokeDown) total.failed++;
}
if (total.passed + total.failed === 0) {
  console.error("No test was run.");
  total.failed = 1;
}
for (const file of unsteady) console.log(`unsteady: ${file} failed at first and passed alone; see its failure above`);
if (total.skipped > 0) console.log(`${total.skipped} skipped`);
console.log(`${total.passed} passed, ${total.failed} failed`);
process.exitCode = total.failed === 0 ? 0 : 1;
