import { resolve } from "node:path";
import { hostToken } from "../../service/host-token.ts";
import { keyVariables, readProviders } from "../../agent/egress/providers-file.ts";

const SUFFIX = "-egress";

/**
 * What the egress process is started with besides what all are. The variables that hold keys are taken out of `env`: the bus,
 * the routers and the rest of the mesh inherit it and have no use for them.
 * @throws MeshError `bad_config` with file, line and path, before anything is started.
 */
export function egressEnvironment(file: string, env: NodeJS.ProcessEnv): Record<string, string> {
  const keys: Record<string, string> = {};
  for (const variable of keyVariables(readProviders(file))) {
    const key = env[variable];
    if (key !== undefined) keys[variable] = key;
    delete env[variable];
  }
  const host = env["TIERMESH_NODE_ID"] ?? "";
  return {
    ...keys,
    TIERMESH_NODE_ID: `${(host === "" ? hostToken() : host).slice(0, 64 - SUFFIX.length)}${SUFFIX}`,
    TIERMESH_LAYER: "L2",
    TIERMESH_PROVIDERS: resolve(file),
    // This machine's runtimes, their slots, its cost and its person are the other agent's.
    TIERMESH_RUNTIMES: "",
    TIERMESH_COST_FACTOR: "",
    TIERMESH_PROFILE: "egress",
    TIERMESH_SLOTS: "",
    TIERMESH_AGENT_FILE: "",
  };
}
