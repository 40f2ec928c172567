/**
 * Runs the test projects and ends with one line, `N passed, N failed`, summed over all of them.
 * The fast projects run together, then integration alone, because its processes want the machine for themselves.
 * Arguments are handed to vitest: `npm test -- router` runs the files whose path contains "router".
 */
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

const runs = [["unit", "contract", "boundaries"], ["integration"]];
const root = join(import.meta.dirname, "..");
const vitest = join(dirname(createRequire(import.meta.url).resolve("vitest/package.json")), "vitest.mjs");
const args = process.argv.slice(2);

/** The part of vitest's JSON report that is counted. */
interface Report {
  numPassedTests: number;
  numFailedTests: number;
  numPendingTests: number;
  testResults: { status: string; assertionResults: unknown[] }[];
}

function runVitest(projects: string[], reportFile: string): Promise<number> {
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
        ...args,
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

const folder = mkdtempSync(join(tmpdir(), "tiermesh-test-"));
let passed = 0;
let failed = 0;
let skipped = 0;
try {
  for (const projects of runs) {
    const reportFile = join(folder, `${projects[0]}.json`);
    const code = await runVitest(projects, reportFile);
    let failedHere = 0;
    if (existsSync(reportFile)) {
      const report = JSON.parse(readFileSync(reportFile, "utf8")) as Report;
      passed += report.numPassedTests;
      skipped += report.numPendingTests;
      // A file that cannot even be loaded has no tests to count, but it failed.
      const unloaded = report.testResults.filter(
        (file) => file.status === "failed" && file.assertionResults.length === 0,
      );
      failedHere = report.numFailedTests + unloaded.length;
    }
    // Unhandled errors, or no report at all: vitest says so only by its exit code.
    failed += code !== 0 && failedHere === 0 ? 1 : failedHere;
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
if (passed + failed === 0) {
  console.error("No test was run.");
  failed = 1;
}
if (skipped > 0) console.log(`${skipped} skipped`);
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
