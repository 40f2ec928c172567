import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { agentConfig } from "../../agent/config.ts";
import { profileIn } from "../../agent/manners/load.ts";
import { keptNkey } from "../../service/access/nkey-file.ts";
import { cacheDir } from "../../service/paths.ts";
import type { LocalNode } from "../bus/bus-users.ts";

/**
 * The profile of this machine's agent in a mesh that somebody starts here: whoever does that sits at the machine and wants it used,
 * so it is no workstation unless the variable or agent.yaml says that it is one.
 * @throws MeshError `bad_config` with file, line and field
 */
export function ownProfile(env: NodeJS.ProcessEnv, stateDir: string): string {
  const said = env["TIERMESH_PROFILE"] ?? "";
  if (said !== "") return said;
  const named = env["TIERMESH_AGENT_FILE"] ?? "";
  return profileIn(named === "" ? join(stateDir, "agent.yaml") : named) ?? "server";
}

/** An agent that `tiermesh up` starts, with its own key: it needs no join token, for it lives beside the broker. */
export interface LocalAgent extends LocalNode {
  /** As the supervisor calls it. */
  process: string;
  nkeyFile: string;
}

/**
 * The agents of this machine, as their variables name them.
 * @param egress variables of the egress process, where there is one
 * @throws MeshError `bad_config` naming a variable or a key file
 */
export function localAgents(
  env: NodeJS.ProcessEnv,
  stateDir: string,
  egress: Readonly<Record<string, string>> | undefined,
): LocalAgent[] {
  const agent = (process: string, variables: NodeJS.ProcessEnv): LocalAgent => {
    const { nodeId, layer } = agentConfig(variables, { stateDir, cacheDir: cacheDir({ env }) });
    const folder = join(stateDir, "agent", nodeId);
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const nkeyFile = join(folder, "bus.nk");
    return { process, nodeId, layer, nkeyFile, publicKey: keptNkey(nkeyFile).publicKey };
  };
  const own = agent("agent", { ...env, TIERMESH_PROVIDERS: "" });
  return egress === undefined ? [own] : [own, agent("egress", { ...env, ...egress })];
}
