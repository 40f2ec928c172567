import { execFile } from "node:child_process";
import { cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { tempDir } from "../kit/temp-dir.ts";

const root = join(import.meta.dirname, "../..");
const SOURCES = ["agent", "auditor", "bus-schemas", "cli", "client", "gateway", "router", "service"];

/** The fenced blocks of docs/adding.md: the first comment says what to do with the rest. */
const steps = [...readFileSync(join(root, "docs/adding.md"), "utf8").matchAll(/```ts\n\/\/ (.+)\n([\s\S]*?)```/g)].map(
  ([, instruction = "", code = ""]) => ({ instruction, code }),
);

test("each recipe of docs/adding.md compiles when it is followed, with nothing else changed", async () => {
  await using folder = tempDir();
  for (const name of SOURCES)
    cpSync(join(root, name), join(folder.path, name), {
      recursive: true,
      filter: (file) => !file.endsWith(".test.ts"),
    });
  for (const name of ["package.json", "tsconfig.json"]) cpSync(join(root, name), join(folder.path, name));
  symlinkSync(join(root, "node_modules"), join(folder.path, "node_modules"));

  for (const { instruction, code } of steps) follow(folder.path, instruction, code);

  const tsc = join(root, "node_modules/typescript/bin/tsc");
  const { stdout } = await promisify(execFile)(process.execPath, [tsc, "--noEmit", "-p", folder.path]).catch(
    (error: { stdout: string }) => error,
  );
  expect(stdout).toBe("");
}, 60_000);

test("every kind of thing that docs/adding.md promises has a recipe that is followed", () => {
  const lists = steps.flatMap(({ instruction }) => /list (\w+)$/.exec(instruction)?.[1] ?? []);
  expect(lists.sort()).toEqual(["COMMANDS", "EVENTS", "FILTERS", "KINDS", "PROBES"]);
});

function follow(folder: string, instruction: string, code: string): void {
  const created = /^new file (\S+)$/.exec(instruction)?.[1];
  if (created !== undefined) {
    mkdirSync(dirname(join(folder, created)), { recursive: true });
    writeFileSync(join(folder, created), code, { flag: "wx" });
    return;
  }
  const [, path = "", list = ""] = /^in (\S+), list (\w+)$/.exec(instruction) ?? [];
  const imports = code.split("\n").filter((line) => line.startsWith("import "));
  const entry = code.split("\n").filter((line) => !line.startsWith("import "));
  const file = readFileSync(join(folder, path), "utf8");
  const opened = new RegExp(`export const ${list}\\b[^=]*(?:=>[^=]*)?= [[{]`).exec(file);
  expect(opened, `${list} in ${path}`).not.toBeNull();
  const at = (opened?.index ?? 0) + (opened?.[0].length ?? 0);
  writeFileSync(
    join(folder, path),
    `${imports.join("\n")}\n${file.slice(0, at)}\n${entry.join("\n")}${file.slice(at)}`,
  );
}
