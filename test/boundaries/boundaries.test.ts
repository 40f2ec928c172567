/**
 * Runs the real compiler and the real linter, with the repository's own configuration, over the fixtures.
 *
 * A fixture says on each line what must be reported there: `// lint: rule, rule` and `// tsc: TS2591`. Marks and reports must be
 * the same set, so a boundary that stopped working fails here, and so does one that starts to report allowed code.
 * The fixtures lie in a tree shaped like the repository and are copied to a temporary folder with the configuration at its root,
 * because the configuration speaks of `agent/**`, not of `test/boundaries/fixtures/agent/**`.
 */
import { execFile } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join, sep } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

const here = import.meta.dirname;
const root = join(here, "..", "..");
const fixtures = join(here, "fixtures");
const configFiles = [".oxlintrc.json", "tsconfig.json", "tsconfig.pure.json", "package.json"];
const pureFolders = ["bus-schemas/", "router/policy/", "agent/model/"];
const files = readdirSync(fixtures, { recursive: true, encoding: "utf8" })
  .map((path) => path.split(sep).join("/"))
  .filter((path) => path.endsWith(".ts"))
  .toSorted();

/** Marks or reports of one file: "line rule", sorted. */
type Findings = string[];

function marks(file: string, tool: "lint" | "tsc"): Findings {
  const lines = readFileSync(join(fixtures, file), "utf8").split("\n");
  const pattern = new RegExp(`// ${tool}: ([\\w-]+(?:, [\\w-]+)*)`);
  return lines
    .flatMap(
      (line, index) =>
        pattern
          .exec(line)?.[1]
          ?.split(", ")
          .map((rule) => `${index + 1} ${rule}`) ?? [],
    )
    .toSorted();
}

/** Path of a package's executable script, started with the running Node so that no shell or .cmd shim is needed. */
function script(packageName: string, bin: string): string {
  const manifest = createRequire(import.meta.url).resolve(`${packageName}/package.json`);
  const { bin: bins } = JSON.parse(readFileSync(manifest, "utf8")) as { bin: Record<string, string> };
  return join(dirname(manifest), bins[bin] ?? "");
}

function output(args: string[], cwd: string): Promise<string> {
  return new Promise((resolve) => {
    // Both tools exit non-zero when they report something, which here is the point.
    execFile(process.execPath, args, { cwd, maxBuffer: 64 << 20 }, (_error, stdout, stderr) =>
      resolve(stdout || stderr),
    );
  });
}

type Reports = Map<string, Findings>;

function group(reports: { file: string; finding: string }[]): Reports {
  const byFile: Reports = new Map();
  for (const { file, finding } of reports) {
    const name = file.split(sep).join("/");
    byFile.set(name, [...(byFile.get(name) ?? []), finding].toSorted());
  }
  return byFile;
}

interface Diagnostic {
  code?: string;
  filename: string;
  labels: { span: { line: number } }[];
}

async function runLint(cwd: string): Promise<Reports> {
  const text = await output([script("oxlint", "oxlint"), "--format=json"], cwd);
  const { diagnostics } = JSON.parse(text) as { diagnostics: Diagnostic[] };
  return group(
    diagnostics.map(({ code, filename, labels }) => ({
      file: filename,
      finding: `${labels[0]?.span.line} ${code?.replace(/^.*\((.*)\)$/, "$1") ?? "unused-directive"}`,
    })),
  );
}

async function runCompiler(project: string, cwd: string): Promise<Reports> {
  const text = await output([script("typescript", "tsc"), "--project", project, "--pretty", "false"], cwd);
  return group(
    [...text.matchAll(/^(.+?)\((\d+),\d+\): error (TS\d+)/gm)].map(([, file = "", line, code]) => ({
      file,
      finding: `${line} ${code}`,
    })),
  );
}

let tree = "";
let lint: Reports;
let pure: Reports;
let everything: Reports;

beforeAll(async () => {
  tree = mkdtempSync(join(tmpdir(), "tiermesh-boundaries-"));
  cpSync(fixtures, tree, { recursive: true });
  for (const file of configFiles) cpSync(join(root, file), join(tree, file));
  symlinkSync(join(root, "node_modules"), join(tree, "node_modules"), "junction");
  [lint, pure, everything] = await Promise.all([
    runLint(tree),
    runCompiler("tsconfig.pure.json", tree),
    runCompiler("tsconfig.json", tree),
  ]);
}, 120_000);

afterAll(() => rmSync(tree, { recursive: true, force: true }));

describe("oxlint reports each marked line and no other", () => {
  test.each(files)("%s", (file) => {
    expect(lint.get(file) ?? []).toEqual(marks(file, "lint"));
  });
});

describe("the pure project reports each marked line and no other", () => {
  const inPure = files.filter(
    (file) => pureFolders.some((folder) => file.startsWith(folder)) && !file.endsWith(".test.ts"),
  );
  test.each(inPure)("%s", (file) => {
    expect(pure.get(file) ?? []).toEqual(marks(file, "tsc"));
  });
});

describe("the whole project reports each marked line and no other", () => {
  test.each(files.filter((file) => file.startsWith("service/")))("%s", (file) => {
    expect(everything.get(file) ?? []).toEqual(marks(file, "tsc"));
  });
});

test("every rule that the configuration turns on by name has a line that must be reported", () => {
  const text = readFileSync(join(root, ".oxlintrc.json"), "utf8").replaceAll(/^\s*\/\/.*$/gm, "");
  type Rules = Record<string, string | [string, ...unknown[]]>;
  const config = JSON.parse(text) as { rules: Rules; overrides: { rules: Rules }[] };
  const named = [config.rules, ...config.overrides.map((override) => override.rules)]
    .flatMap((rules) => Object.entries(rules))
    .filter(([, value]) => (Array.isArray(value) ? value[0] : value) === "error")
    .map(([rule]) => rule.replace(/^.*\//, ""));
  const marked = new Set(files.flatMap((file) => marks(file, "lint")).map((mark) => mark.split(" ")[1]));
  expect(named.filter((rule) => !marked.has(rule))).toEqual([]);
});

test("every folder of the product has a fixture for its arrows", () => {
  // `out` is what npm run build:agent writes.
  const notFolders = new Set(["node_modules", "scripts", "bin", "test", "docs", "deploy", "console", "out"]);
  const folders = readdirSync(root, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && !entry.name.startsWith(".") && !notFolders.has(entry.name))
    .map((entry) => entry.name);
  expect(folders.filter((folder) => !files.includes(`${folder}/arrows.ts`))).toEqual([]);
});
