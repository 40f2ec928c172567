import { spawnSync } from "node:child_process";
import { appendFileSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { expect, test } from "vitest";
import { tempDir } from "../test/kit/temp-dir.ts";

const script = path.join(import.meta.dirname, "schemas.ts");
const run = (...args: string[]) => spawnSync(process.execPath, [script, ...args], { encoding: "utf8" });

test("the committed schemas are those of bus-schemas/", () => {
  const { status, stderr } = run("--check");
  expect(stderr).toBe("");
  expect(status).toBe(0);
});

test("a stale, missing or left-over file is named with what to run, and running it helps", async () => {
  await using dir = tempDir();
  const folder = ["--folder", dir.path];
  expect(run("--check", ...folder)).toMatchObject({ status: 1, stderr: expect.stringContaining("npm run schemas") });
  expect(run(...folder).status).toBe(0);
  expect(run("--check", ...folder).status).toBe(0);
  appendFileSync(path.join(dir.path, "Verdict.json"), " ");
  writeFileSync(path.join(dir.path, "Gone.json"), "{}");
  const stale = run("--check", ...folder);
  expect(stale.status).toBe(1);
  expect(stale.stderr).toContain("Verdict.json");
  expect(stale.stderr).toContain("Gone.json");
  expect(stale.stderr).not.toContain("NodeRecord.json");
  expect(run(...folder).status).toBe(0);
  expect(readdirSync(dir.path)).not.toContain("Gone.json");
  expect(JSON.parse(readFileSync(path.join(dir.path, "NodeRecord.json"), "utf8"))).toMatchObject({
    $schema: "https://json-schema.org/draft/2020-12/schema",
    title: "NodeRecord",
    required: ["node_id", "layer", "status", "hardware", "last_heartbeat"],
  });
});
