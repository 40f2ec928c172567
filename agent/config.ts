import { hostname } from "node:os";
import { z } from "zod";
import { Layer, MeshError } from "../bus-schemas/index.ts";
import { BASE_ENV, BaseConfig, loadConfig, type Environment } from "../service/config.ts";
import { parseLoopbackUrl } from "./runtimes/loopback-http.ts";

const AgentConfig = BaseConfig.extend({
  nodeId: z.string().regex(/^[A-Za-z0-9_-]{1,64}$/, "letters, digits, _ and -, 1 to 64 characters"),
  layer: Layer.default("L0"),
  /** Base URLs of further runtimes on this machine, separated by commas. */
  runtimes: z.string().default("").transform(toEndpoints),
  /** Whether the agent runs a small model of its own: `auto` = when no other runtime is found at the start. */
  embedded: z.enum(["auto", "on", "off"]).default("auto"),
  /** Offers the diagnostic echo runtime. */
  loopback: z.stringbool().default(false),
  /** Cost of a token here relative to the cloud's (SEED `cost_factor`). */
  costFactor: z.coerce.number().min(0).max(1000).default(0.4),
  /** A new key for sealed jobs is made this often, hours. */
  sealKeyHours: z.coerce.number().min(0.0001).max(720).default(24),
  stateDir: z.string().min(1),
  cacheDir: z.string().min(1),
});
export type AgentConfig = z.infer<typeof AgentConfig>;

const ENV = {
  ...BASE_ENV,
  nodeId: "TIERMESH_NODE_ID",
  layer: "TIERMESH_LAYER",
  runtimes: "TIERMESH_RUNTIMES",
  embedded: "TIERMESH_EMBEDDED",
  loopback: "TIERMESH_LOOPBACK",
  costFactor: "TIERMESH_COST_FACTOR",
  sealKeyHours: "TIERMESH_SEAL_KEY_HOURS",
} as const;

/** @throws MeshError `bad_config` naming the variable. */
export function agentConfig(env: Environment, dirs: { stateDir: string; cacheDir: string }): AgentConfig {
  return loadConfig(AgentConfig, ENV, { env, file: { nodeId: defaultNodeId(), ...dirs }, fileName: "defaults" });
}

/** Checked here, before anything runs: the work thread, which uses them, could only crash. */
function toEndpoints(text: string, context: z.RefinementCtx): string[] {
  const urls = text
    .split(",")
    .map((url) => url.trim())
    .filter((url) => url !== "");
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

/** The host's first name as a subject token. */
function defaultNodeId(): string {
  const name = (hostname().split(".")[0] ?? "").replace(/[^A-Za-z0-9_-]/g, "-").slice(0, 64);
  return name === "" ? "node" : name;
}
