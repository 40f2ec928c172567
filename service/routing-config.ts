import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { z } from "zod";
import { LineCounter, parseDocument, type Document } from "yaml";
import { MeshError, RoutingConfig, checkPolicy, fieldPath } from "../bus-schemas/index.ts";
import { suggest } from "./config.ts";

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
  return `${String(from).slice(0, 80)}@${createHash("sha256").update(text).digest("hex").slice(0, 12)}`;
}

/** @see readRoutingConfig; `name` stands for the file in messages. */
export function parseRoutingConfig(text: string, name: string): RoutingConfig {
  if (Buffer.byteLength(text) > MAX_FILE_BYTES)
    throw new MeshError(
      "bad_config",
      `${name}: larger than ${MAX_FILE_BYTES} bytes, which no routing file needs to be`,
    );
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true });
  const broken = document.errors[0];
  if (broken !== undefined) {
    throw new MeshError(
      "bad_config",
      `${name}:${lines.linePos(broken.pos[0]).line}: not YAML: ${broken.message.split("\n")[0]}`,
    );
  }
  const value = toPlain(document, name);
  const result = RoutingConfig.safeParse(value ?? {});
  if (result.success) {
    const problem = checkPolicy(result.data);
    if (problem === undefined) return result.data;
    const field = fieldPath(problem.path);
    const near = problem.known === undefined ? "" : suggest(problem.path.at(-1) ?? "", problem.known);
    const where = `${name}:${lineOf(document, problem.path, lines)}`;
    throw new MeshError("bad_config", `${where}: ${field}: ${problem.message}${near}`, { field });
  }
  // A misspelt key is also a missing one: the key is what to tell.
  const { issues } = result.error;
  const issue = issues.find(({ code }) => code === "unrecognized_keys") ?? issues[0];
  const path = [...(issue?.path ?? [])];
  if (issue?.code === "unrecognized_keys") path.push(issue.keys[0] ?? "");
  const field = fieldPath(path);
  const what =
    issue?.code === "unrecognized_keys"
      ? `unknown key${suggest(issue.keys[0] ?? "", knownKeys(path))}`
      : (issue?.message ?? "not valid");
  throw new MeshError(
    "bad_config",
    `${name}:${lineOf(document, path, lines)}: ${field === "" ? "the file" : field}: ${what}`,
    { field },
  );
}

function toPlain(document: Document, name: string): unknown {
  try {
    return document.toJS({ maxAliasCount: 100 });
  } catch {
    throw new MeshError("bad_config", `${name}: too many aliases (a YAML bomb?)`);
  }
}

/** Line of the deepest existing node on the path; 1 when there is none. */
function lineOf(document: Document, path: readonly PropertyKey[], lines: LineCounter): number {
  for (let length = path.length; length > 0; length--) {
    const parent = length === 1 ? document.contents : document.getIn(path.slice(0, length - 1), true);
    const pairs =
      (parent as { items?: { key?: { value?: unknown; range?: [number, number, number] } }[] } | null)?.items ?? [];
    const range = pairs.find((pair) => pair.key?.value === path[length - 1])?.key?.range;
    if (range !== undefined) return lines.linePos(range[0]).line;
  }
  return 1;
}

/** The keys the schema knows at the place of the last element of `path`. */
function knownKeys(path: readonly PropertyKey[]): string[] {
  interface Node {
    properties?: Record<string, Node>;
    items?: Node;
    additionalProperties?: Node | boolean;
  }
  let node = z.toJSONSchema(RoutingConfig, { io: "input" }) as Node;
  for (const part of path.slice(0, -1)) {
    const next = node.properties?.[String(part)] ?? node.items ?? node.additionalProperties;
    node = typeof next === "object" ? next : {};
  }
  return Object.keys(node.properties ?? {});
}
