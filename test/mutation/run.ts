/**
 * `npm run mutate [-- FILE…]`: changes the code that keeps P0 at home in every small way there is, and runs its tests on
 * each change. A change that no test notices is a surviving mutant; one of those files with survivors makes it exit 1.
 * It takes a while (about 4 s a mutant), so it is not part of `npm test`.
 */
import { spawn } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import path from "node:path";
import { mutantsOf, type Mutant } from "./mutants.ts";

const ROOT = path.join(import.meta.dirname, "..", "..");
const FILTERS = "router/policy/filters";
/** Tests that hold all of the decision; each file's own test is run with them. */
const COMMON_TESTS = ["decide", "decide.property", "deployment", "lists", "pick", "policy", "strategy", "tools"].map(
  (name) => `router/policy/${name}.test.ts`,
);
/** What stands between P0 and the cloud in our own code: no survivor is borne here. */
const CRITICAL: readonly string[] = [
  `${FILTERS}/data-class.ts`,
  `${FILTERS}/layer.ts`,
  `${FILTERS}/index.ts`,
  "router/policy/context.ts",
  "router/policy/reject.ts",
  "agent/model/admission.ts",
  "agent/ask.ts",
  "agent/egress/gate.ts",
];
/** A mutant that loops for ever is caught by this, milliseconds. */
const LIMIT_MS = 120_000;

interface Work {
  file: string;
  mutant: Mutant;
}

const files = process.argv.length > 2 ? process.argv.slice(2) : everyFile();
const work: Work[] = files.flatMap((file) =>
  mutantsOf(readFileSync(path.join(ROOT, file), "utf8")).map((mutant) => ({ file, mutant })),
);
console.log(`${work.length} mutants of ${files.length} files`);
const survivors: Work[] = [];
let done = 0;
await Promise.all(Array.from({ length: Math.min(availableParallelism(), 4) }, runWorker));
survivors.sort((a, b) => a.file.localeCompare(b.file) || a.mutant.line - b.mutant.line);
for (const { file, mutant } of survivors)
  console.log(`survived${CRITICAL.includes(file) ? " (critical)" : ""}  ${file}:${mutant.line}  ${mutant.what}`);
console.log(`${work.length - survivors.length} killed, ${survivors.length} survived`);
process.exitCode = survivors.some(({ file }) => CRITICAL.includes(file)) ? 1 : 0;

function everyFile(): string[] {
  const filters = readdirSync(path.join(ROOT, FILTERS))
    .filter((name) => name.endsWith(".ts") && !name.endsWith(".test.ts"))
    .map((name) => `${FILTERS}/${name}`);
  return [...new Set([...CRITICAL, ...filters])];
}

/** Takes mutants off the list, in a copy of the tree of its own. */
async function runWorker(): Promise<void> {
  const copy = mkdtempSync(path.join(tmpdir(), "tiermesh-mutants-"));
  try {
    cpSync(ROOT, copy, { recursive: true, filter: (from) => !/[/\\](?:node_modules|\.git)$/.test(from) });
    symlinkSync(path.join(ROOT, "node_modules"), path.join(copy, "node_modules"), "junction");
    for (let next = work[done++]; next !== undefined; next = work[done++]) {
      const target = path.join(copy, next.file);
      const original = readFileSync(target);
      writeFileSync(target, next.mutant.text);
      if (await testsPass(copy, next.file)) survivors.push(next);
      writeFileSync(target, original);
      if (done % 20 === 0) console.log(`${Math.min(done, work.length)} of ${work.length} …`);
    }
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
}

function testsPass(copy: string, file: string): Promise<boolean> {
  const tests = [...new Set([file.replace(/\.ts$/, ".test.ts"), ...COMMON_TESTS])];
  const vitest = path.join(ROOT, "node_modules", "vitest", "vitest.mjs");
  const child = spawn(process.execPath, [vitest, "run", "--project", "unit", "--bail=1", "--maxWorkers=1", ...tests], {
    cwd: copy,
    stdio: "ignore",
    timeout: LIMIT_MS,
  });
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("exit", (code) => resolve(code === 0));
  });
}
