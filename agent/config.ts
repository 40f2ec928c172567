import { z } from "zod";
import { Jurisdiction, Layer, MeshError, ModelName } from "../bus-schemas/index.ts";
import { BASE_ENV, BaseConfig, loadConfig, type Environment } from "../service/config.ts";
import { hostToken } from "../service/host-token.ts";
import { PROFILES } from "./manners/settings.ts";
import { parseSlots } from "./manners/slots.ts";
import { parseLoopbackUrl } from "./runtimes/loopback-http.ts";

const AgentConfig = BaseConfig.extend({
  nodeId: z.string().regex(/^[A-Za-z0-9_-]{1,64}$/, "letters, digits, _ and -, 1 to 64 characters"),
  layer: Layer.default("L0"),
  /** Base URLs of further runtimes on this machine, separated by commas. */
  runtimes: z.string().default("").transform(toEndpoints),
  /** Models that are kept in memory, as their runtimes spell them, separated by commas. */
  keepWarm: z
    .string()
    .default("")
    .transform((text) => [...new Set(listOf(text))])
    .pipe(z.array(ModelName).max(32)),
  /** Whether the agent runs a small model of its own: `auto` = when no other runtime is found at the start. */
  embedded: z.enum(["auto", "on", "off"]).default("auto"),
  /** Offers the diagnostic echo runtime. */
  loopback: z.stringbool().default(false),
  /** Cost of a token here relative to the cloud's (SEED `cost_factor`). */
  costFactor: z.coerce.number().min(0).max(1000).optional(),
  /** File of cloud providers: then this is an egress agent, which serves them and nothing of this machine. */
  providers: z.string().min(1).max(4096).optional(),
  /** Where an egress agent finds the prices of models that the providers file gives none. */
  routingConfig: z.string().max(4096).optional(),
  /** Where the machine stands; without one agent.yaml says it. */
  jurisdiction: Jurisdiction.optional(),
  /** What kind of machine this is; without one agent.yaml says it, or layer and providers do (manners/settings.ts). */
  profile: z.enum(PROFILES).optional(),
  /** Jobs that runtimes run at once, instead of what they tell. */
  slots: z
    .string()
    .transform((text, context) => {
      const slots = parseSlots(text);
      if (slots === undefined)
        context.addIssue({ code: "custom", message: 'a number, or one for each runtime: "ollama=4,vllm-8000=32"' });
      return slots;
    })
    .optional(),
  /** The machine's own limits; default: agent.yaml in the state folder. */
  agentFile: z.string().min(1).max(4096).optional(),
  /** The company's limits, which agent.yaml may only tighten, besides those in the place for them (manners/load.ts). */
  agentPolicy: z.string().min(1).max(4096).optional(),
  /** A new key for sealed jobs is made this often, hours. */
  sealKeyHours: z.coerce.number().min(0.0001).max(720).default(24),
  stateDir: z.string().min(1),
  cacheDir: z.string().min(1),
});
export type AgentConfig = Omit<z.infer<typeof AgentConfig>, "costFactor"> & { costFactor: number };

/** SEED's `cost_factor` of its example nodes; 1 is the cloud itself. */
const COST_FACTORS = { L0: 0.4, L1: 0.4, L2: 1 } as const;

const ENV = {
  ...BASE_ENV,
  nodeId: "TIERMESH_NODE_ID",
  layer: "TIERMESH_LAYER",
  runtimes: "TIERMESH_RUNTIMES",
  keepWarm: "TIERMESH_KEEP_WARM",
  embedded: "TIERMESH_EMBEDDED",
  loopback: "TIERMESH_LOOPBACK",
  costFactor: "TIERMESH_COST_FACTOR",
  sealKeyHours: "TIERMESH_SEAL_KEY_HOURS",
  providers: "TIERMESH_PROVIDERS",
  routingConfig: "ROUTING_CONFIG_PATH",
  jurisdiction: "TIERMESH_JURISDICTION",
  profile: "TIERMESH_PROFILE",
  slots: "TIERMESH_SLOTS",
  agentFile: "TIERMESH_AGENT_FILE",
  agentPolicy: "TIERMESH_AGENT_POLICY",
} as const;

/** @throws MeshError `bad_config` naming the variable. */
export function agentConfig(env: Environment, dirs: { stateDir: string; cacheDir: string }): AgentConfig {
  const defaults = { nodeId: hostToken(), ...dirs };
  const config = loadConfig(AgentConfig, ENV, { env, file: defaults, fileName: "defaults" });
  // Routers keep P0 and P1 from L2 only: what runs in a cloud must not pass for a machine of the house.
  if (config.providers !== undefined && config.layer !== "L2")
    throw new MeshError(
      "bad_config",
      "TIERMESH_PROVIDERS: cloud providers are served on L2 only; set TIERMESH_LAYER=L2",
      {
        field: "providers",
      },
    );
  return { ...config, costFactor: config.costFactor ?? COST_FACTORS[config.layer] };
}

function listOf(text: string): string[] {
  return text
    .split(",")
    .map((entry) => entry.trim())
    .filter((entry) => entry !== "");
}

/** Checked here, before anything runs: the work thread, which uses them, could only crash. */
function toEndpoints(text: string, context: z.RefinementCtx): string[] {
  const urls = listOf(text);
  const ports = new Set<number>();
  for (const [place, url] of urls.entries()) {
    try {
      const { port } = parseLoopbackUrl(url, `entry ${place + 1}`);
      if (ports.has(port)) throw new MeshError("bad_config", `entry ${place + 1}: port ${port} is named twice`);
      ports.add(port);
    } catch (error) {
      context.addIssue({ code: "custom", message: MeshError.from(error).message });
    }
  }
  return urls;
}
