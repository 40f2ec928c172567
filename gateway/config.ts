import { z } from "zod";
import { BASE_ENV, BaseConfig, IntegerText } from "../service/config.ts";

/** Settings of the gateway; each can be a flag, a variable or a key of the file (service/config.ts). */
export const GatewayConfig = BaseConfig.extend({
  /** Address the HTTP server listens on. Loopback by default: keys and limits come before the world does. */
  gatewayHost: z.string().min(1).default("127.0.0.1"),
  /** How the mesh and its record hear of callers: as they are named, or by pseudonyms (docs/audit-reading.md). */
  callers: z.enum(["plain", "pseudonym"]).default("plain"),
  /** Port of the HTTP server; 0 picks a free one. */
  gatewayPort: IntegerText.min(0).max(65_535).default(8080),
});
export type GatewayConfig = z.infer<typeof GatewayConfig>;

export const GATEWAY_ENV = {
  ...BASE_ENV,
  gatewayHost: "TIERMESH_GATEWAY_HOST",
  callers: "TIERMESH_CALLERS",
  gatewayPort: "TIERMESH_GATEWAY_PORT",
} as const;
