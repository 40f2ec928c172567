import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { MeshError, RoutingConfig, checkPolicy } from "../bus-schemas/index.ts";
import { parseYamlConfig } from "./yaml-config.ts";

/** Larger routing files are refused before they are parsed, bytes: they would hold up a router, and a bus's largest message. */
const MAX_FILE_BYTES = 900_000;

/** A routing file as it stands and what it says. */
export interface RoutingText {
  text: string;
  config: RoutingConfig;
}

/**
 * Reads a routing policy file (SEED 基础路由策略 and 模型配置注册; `ROUTING_CONFIG_PATH` names it).
 * @throws MeshError `bad_config` with file, line, path and what was expected.
 */
export function readRoutingConfig(path: string): RoutingText {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw new MeshError("bad_config", `${path}: cannot be read; ROUTING_CONFIG_PATH names a router's routing file`, {
      cause: error,
    });
  }
  return { text, config: parseRoutingConfig(text, path) };
}

/** Names a policy in decisions: where it is from (a revision on the bus, or a file) and the first digits of its SHA-256. */
export function policyName(from: number | string, text: string): string {
  return `${String(from).slice(0, 80)}@${textSha256(text).slice(0, 12)}`;
}

/** SHA-256 of a policy's text, in hex: what a record of a decision names it by. */
export function textSha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

/** @see readRoutingConfig; `name` stands for the file in messages. */
export function parseRoutingConfig(text: string, name: string): RoutingConfig {
  return parseYamlConfig(text, { schema: RoutingConfig, name, maxBytes: MAX_FILE_BYTES, check: checkPolicy });
}
