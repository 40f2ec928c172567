import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { runCli, startMesh, type TestMesh } from "../kit/mesh.ts";
import { tempDir } from "../kit/temp-dir.ts";

/** Separate duties (SEED's 三员分立): each of the three does its own, and is refused the others'. By the commands that people use. */

const folder = tempDir("tiermesh-duties-");
const policy = path.join(folder.path, "routing.yaml");
let mesh: TestMesh;

beforeAll(async () => {
  const text = readFileSync(path.join(import.meta.dirname, "../../deploy/routing.yaml"), "utf8");
  writeFileSync(policy, text.replace(/retry_attempts: \d/, "retry_attempts: 1"));
  mesh = await startMesh({}, [], { busSettings: { duties: "separate" } });
});
afterAll(async () => {
  await mesh?.[Symbol.asyncDispose]();
  await folder.remove();
});

const as = (duty: string, ...args: string[]) => runCli({ ...mesh.env, TIERMESH_DUTY: duty }, ...args);

test("the operator runs machines, and neither lets machines in, changes the policy nor reads the record", async () => {
  expect(await as("", "nodes", "--json")).toMatchObject({ code: 0 });
  expect(await as("", "policy", "show")).toMatchObject({ code: 0 });
  // It brings releases and upgrades; that it hears of no jobs is not in its way.
  expect(await as("", "upgrade", "--dry-run")).toMatchObject({
    code: 1,
    err: expect.stringContaining("keeps no release"),
  });
  for (const args of [
    ["node", "add", "gpu-9", "--layer", "L1"],
    ["policy", "apply", policy],
    ["audit", "query", "--limit", "1"],
    ["audit", "tail"],
  ])
    expect([args, await as("", ...args)]).toMatchObject([
      args,
      { code: 1, err: expect.stringContaining("may not say") },
    ]);
});

test("the security officer lets machines in and changes the policy, and gives no orders and reads no record", async () => {
  expect((await as("security", "node", "add", "gpu-9", "--layer", "L1")).out).toContain("tmjoin_");
  expect(await as("security", "policy", "apply", policy)).toMatchObject({ code: 0 });
  writeFileSync(policy, readFileSync(policy, "utf8").replace("retry_attempts: 1", "retry_attempts: 0"));
  for (const args of [
    ["node", "cordon", mesh.nodeId],
    ["audit", "query", "--limit", "1"],
    ["release", "list"],
  ])
    expect([args, (await as("security", ...args)).code]).not.toEqual([args, 0]);
});

test("the inspector reads the record, and changes nothing", async () => {
  expect(await as("inspector", "audit", "query", "--limit", "1", "--json")).toMatchObject({ code: 0 });
  for (const args of [
    ["node", "add", "gpu-8", "--layer", "L1"],
    ["node", "cordon", mesh.nodeId],
    ["policy", "apply", policy],
  ])
    expect([args, (await as("inspector", ...args)).code]).not.toEqual([args, 0]);
});
