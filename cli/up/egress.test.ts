import { writeFileSync } from "node:fs";
import path from "node:path";
import { expect, test } from "vitest";
import { tempDir } from "../../test/kit/temp-dir.ts";
import { egressEnvironment } from "./egress.ts";

test("the egress process alone gets the keys, and is an L2 node named after its machine", async () => {
  const folder = tempDir("tiermesh-up-");
  const file = path.join(folder.path, "p.yaml");
  writeFileSync(
    file,
    "providers:\n  - {provider: openai, models: [{upstream: m}]}\n  - {provider: zhipu, models: [{upstream: m}]}\n",
  );
  const env: NodeJS.ProcessEnv = { OPENAI_API_KEY: "k", TIERMESH_NODE_ID: "x".repeat(64), TIERMESH_COST_FACTOR: "0.1" };
  const extra = egressEnvironment(file, env);
  expect(env).not.toHaveProperty("OPENAI_API_KEY");
  expect(extra).toEqual({
    OPENAI_API_KEY: "k",
    TIERMESH_NODE_ID: `${"x".repeat(57)}-egress`,
    TIERMESH_LAYER: "L2",
    TIERMESH_PROVIDERS: file,
    TIERMESH_RUNTIMES: "",
    TIERMESH_COST_FACTOR: "",
    TIERMESH_PROFILE: "egress",
    TIERMESH_SLOTS: "",
    TIERMESH_AGENT_FILE: "",
  });
  expect(egressEnvironment(file, {})["TIERMESH_NODE_ID"]).toMatch(/^[A-Za-z0-9_-]+-egress$/);
  expect(() => egressEnvironment(path.join(folder.path, "no.yaml"), {})).toThrow(/no\.yaml: cannot be read/);
  await folder.remove();
});
