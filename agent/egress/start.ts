import { MeshError } from "../../bus-schemas/index.ts";
import type { Log } from "../../service/log.ts";
import { readRoutingConfig } from "../../service/routing-config.ts";
import { keyVariables, readProviders } from "./providers-file.ts";
import type { EgressConfig } from "./providers.ts";

/**
 * Prepares an egress agent: checks the providers file before anything runs, takes the keys out of `env`, which every other
 * thread and child process of the agent would inherit, and hands out the environment for the one thread that needs them.
 * @throws MeshError `bad_config` with file, line and path.
 */
export function prepareEgress(
  file: string,
  routingFile: string | undefined,
  env: NodeJS.ProcessEnv,
  log: Log,
): { egress: EgressConfig; workEnv: NodeJS.ProcessEnv } {
  const providers = readProviders(file);
  const workEnv = { ...env };
  for (const variable of keyVariables(providers)) delete env[variable];
  return { egress: { file, registryPrices: registryPrices(routingFile, log) }, workEnv };
}

/** Prices of the policy's registry; without a file that can be read there are none, and costs stay unknown. */
function registryPrices(routingFile: string | undefined, log: Log): Record<string, number> {
  if (routingFile === undefined) return {};
  try {
    const { models } = readRoutingConfig(routingFile).config;
    const priced = Object.entries(models).filter(([, { cost_per_1k_tokens: price }]) => price > 0);
    return Object.fromEntries(priced.map(([name, { cost_per_1k_tokens: price }]) => [name, price]));
  } catch (error) {
    log.warn({ problem: MeshError.from(error).message }, "no prices from the policy's registry");
    return {};
  }
}
