import { expect, test } from "vitest";
import { NodeId } from "../bus-schemas/index.ts";
import { agentConfig } from "./config.ts";

const dirs = { stateDir: "/state", cacheDir: "/cache" };

test("without any variable the agent is a terminal of this host that may run a small model", () => {
  const config = agentConfig({}, dirs);
  expect(config).toMatchObject({
    layer: "L0",
    runtimes: [],
    embedded: "auto",
    loopback: false,
    costFactor: 0.4,
    ...dirs,
  });
  expect(NodeId.parse(config.nodeId)).toBe(config.nodeId);
});

test("every variable is read, and an empty one counts as unset", () => {
  const config = agentConfig(
    {
      TIERMESH_NODE_ID: "gpu-1",
      TIERMESH_LAYER: "L1",
      TIERMESH_RUNTIMES: " http://127.0.0.1:9000 , http://localhost:9001/v1, ",
      TIERMESH_EMBEDDED: "off",
      TIERMESH_LOOPBACK: "true",
      TIERMESH_KEEP_WARM: "llama3.2:3b, org/name,llama3.2:3b,",
      TIERMESH_COST_FACTOR: "1.5",
      TIERMESH_PROFILE: "workstation",
      TIERMESH_JURISDICTION: "DE",
      TIERMESH_SLOTS: "2, ollama=4",
      TIERMESH_CELL: "",
    },
    dirs,
  );
  expect(config).toMatchObject({
    nodeId: "gpu-1",
    layer: "L1",
    runtimes: ["http://127.0.0.1:9000", "http://localhost:9001/v1"],
    embedded: "off",
    loopback: true,
    keepWarm: ["llama3.2:3b", "org/name"],
    costFactor: 1.5,
    profile: "workstation",
    jurisdiction: "DE",
    slots: { all: 2, by: new Map([["ollama", 4]]) },
    cell: "main",
  });
});

test.each([
  ["TIERMESH_NODE_ID", "two words"],
  ["TIERMESH_NODE_ID", "x".repeat(65)],
  ["TIERMESH_LAYER", "L3"],
  ["TIERMESH_EMBEDDED", "maybe"],
  ["TIERMESH_LOOPBACK", "perhaps"],
  ["TIERMESH_KEEP_WARM", "x".repeat(201)],
  ["TIERMESH_KEEP_WARM", Array.from({ length: 33 }, (_, at) => `m${at}`).join(",")],
  ["TIERMESH_COST_FACTOR", "cheap"],
  ["TIERMESH_COST_FACTOR", "-1"],
  ["TIERMESH_PROFILE", "laptop"],
  ["TIERMESH_SLOTS", "many"],
  ["TIERMESH_SLOTS", "0"],
  ["TIERMESH_SLOTS", "ollama=4,ollama=5"],
  ["TIERMESH_CELL", "a.b"],
  ["TIERMESH_HEALTH_PORT", "99999"],
  ["TIERMESH_RUNTIMES", "ollama"],
  ["TIERMESH_RUNTIMES", "https://127.0.0.1:9000"],
  ["TIERMESH_RUNTIMES", "http://gpu.example:9000"],
  ["TIERMESH_RUNTIMES", "http://me:secret@127.0.0.1:9000"],
  ["TIERMESH_RUNTIMES", "http://127.0.0.1:9000,http://localhost:9000"],
])("a bad %s (%s) is told by its name, before anything starts", (name, value) => {
  const start = () => agentConfig({ [name]: value }, dirs);
  expect(start).toThrow(
    expect.objectContaining({ code: "bad_config", message: expect.stringContaining(name) as string }),
  );
  expect(start).not.toThrow(/secret/);
});

test("cloud providers are served on L2 only, where a token costs what a cloud token costs", () => {
  const dirs = { stateDir: "s", cacheDir: "c" };
  const env = { TIERMESH_NODE_ID: "n", TIERMESH_PROVIDERS: "p.yaml" };
  for (const layer of [undefined, "L0", "L1"])
    expect(() => agentConfig({ ...env, TIERMESH_LAYER: layer }, dirs)).toThrow(
      /TIERMESH_PROVIDERS: .*TIERMESH_LAYER=L2/,
    );
  expect(agentConfig({ ...env, TIERMESH_LAYER: "L2" }, dirs)).toMatchObject({ providers: "p.yaml", costFactor: 1 });
});
