import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";

const root = join(import.meta.dirname, "..");
const read = (path: string): string => readFileSync(join(root, path), "utf8");
type Versions = Record<string, string>;
const manifest = JSON.parse(read("package.json")) as {
  dependencies: Versions;
  optionalDependencies: Versions;
  devDependencies: Versions;
};
const dependencies = Object.entries({
  ...manifest.dependencies,
  ...manifest.optionalDependencies,
  ...manifest.devDependencies,
});

test("docs/dependencies.md has a line for each dependency and no other", () => {
  const lines = [...read("docs/dependencies.md").matchAll(/^\| `(\S+)` (\d\S*) +\|/gm)].map(
    ([, name, version]) => `${name} ${version}`,
  );
  const wanted = dependencies.map(([name, version]) => `${name} ${version}`);
  const obtainedAtRunTime = ["node-llama-cpp"];
  expect(lines.filter((line) => !obtainedAtRunTime.includes(line.split(" ")[0] ?? "")).toSorted()).toEqual(
    wanted.toSorted(),
  );
});

test("every version is exact", () => {
  expect(dependencies.filter(([, version]) => !/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version))).toEqual([]);
});

test("the lock file and the manifest name the same versions", () => {
  const { packages } = JSON.parse(read("package-lock.json")) as { packages: Record<string, { version?: string }> };
  expect(dependencies.filter(([name, version]) => packages[`node_modules/${name}`]?.version !== version)).toEqual([]);
});
