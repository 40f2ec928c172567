import type { Log } from "../../service/log.ts";
import type { AgentConfig } from "../config.ts";

/**
 * What an egress agent needs (start.ts); undefined for any other. Loaded only where it is needed: reading YAML and prices takes memory that
 * a person's machine should not give for it.
 */
export async function egressOf({ providers, routingConfig }: AgentConfig, env: NodeJS.ProcessEnv, log: Log) {
  if (providers === undefined) return undefined;
  const { prepareEgress } = await import("./start.ts");
  return prepareEgress(providers, routingConfig, env, log);
}
