import { z } from "zod";
import { LineCounter, parseDocument, visit, type Document } from "yaml";
import { MeshError, fieldPath } from "../bus-schemas/index.ts";
import { suggest } from "./config.ts";

/** What is wrong with a file that its schema cannot say, and where. */
export interface YamlProblem {
  path: PropertyKey[];
  message: string;
  /** The last part of the path is none of these. */
  known?: string[];
}

export interface YamlOptions<T extends z.ZodType> {
  schema: T;
  /** Stands for the file in messages. */
  name: string;
  /** Larger files are refused before they are parsed, bytes. */
  maxBytes: number;
  /** The first contradiction that the schema cannot see. */
  check?: (value: z.output<T>) => YamlProblem | undefined;
}

/**
 * Reads a YAML file's text by a schema.
 * @throws MeshError `bad_config` with file, line, path and what was expected; it never quotes a value.
 */
export function parseYamlConfig<T extends z.ZodType>(text: string, options: YamlOptions<T>): z.output<T> {
  const { schema, name, maxBytes, check } = options;
  if (Buffer.byteLength(text) > maxBytes)
    throw new MeshError("bad_config", `${name}: larger than ${maxBytes} bytes, which no such file needs to be`);
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true });
  const broken = document.errors[0];
  if (broken !== undefined) {
    throw new MeshError(
      "bad_config",
      `${name}:${lines.linePos(broken.pos[0]).line}: not YAML: ${broken.message.split("\n")[0]}`,
    );
  }
  const value = toPlain(document, name, lines);
  const result = schema.safeParse(value ?? {});
  if (result.success) {
    const problem = check?.(result.data);
    if (problem === undefined) return result.data;
    const field = fieldPath(problem.path);
    const near = problem.known === undefined ? "" : suggest(String(problem.path.at(-1) ?? ""), problem.known);
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
      ? `unknown key${suggest(issue.keys[0] ?? "", knownKeys(schema, path))}`
      : (issue?.message ?? "not valid");
  throw new MeshError(
    "bad_config",
    `${name}:${lineOf(document, path, lines)}: ${field === "" ? "the file" : field}: ${what}`,
    { field },
  );
}

function toPlain(document: Document, name: string, lines: LineCounter): unknown {
  try {
    return document.toJS({ maxAliasCount: 100 });
  } catch {
    let dangling: { source: string; at: number } | undefined;
    visit(document, {
      Alias(_, alias) {
        if (alias.resolve(document) !== undefined) return undefined;
        dangling = { source: alias.source, at: alias.range?.[0] ?? 0 };
        return visit.BREAK;
      },
    });
    if (dangling === undefined) throw new MeshError("bad_config", `${name}:1: too many aliases (a YAML bomb?)`);
    const { source, at } = dangling;
    throw new MeshError("bad_config", `${name}:${lines.linePos(at).line}: *${source}: no such anchor before it`);
  }
}

interface YamlNode {
  items?: unknown[];
  range?: [number, number, number] | null;
}

/** Line of the deepest existing node on the path: its key, or its place in a list; 1 when there is none. */
function lineOf(document: Document, path: readonly PropertyKey[], lines: LineCounter): number {
  for (let length = path.length; length > 0; length--) {
    const parent = length === 1 ? document.contents : document.getIn(path.slice(0, length - 1), true);
    const items = (parent as YamlNode | null)?.items ?? [];
    const last = path[length - 1];
    const entry = items[Number(last)] as YamlNode | undefined;
    const pairs = items as { key?: { value?: unknown; range?: [number, number, number] } }[];
    const range = typeof last === "number" ? entry?.range : pairs.find((pair) => pair.key?.value === last)?.key?.range;
    if (range !== undefined && range !== null) return lines.linePos(range[0]).line;
  }
  return 1;
}

/** The keys the schema knows at the place of the last element of `path`. */
function knownKeys(schema: z.ZodType, path: readonly PropertyKey[]): string[] {
  interface Node {
    properties?: Record<string, Node>;
    items?: Node;
    additionalProperties?: Node | boolean;
  }
  let node = z.toJSONSchema(schema, { io: "input", unrepresentable: "any" }) as Node;
  for (const part of path.slice(0, -1)) {
    const next = node.properties?.[String(part)] ?? node.items ?? node.additionalProperties;
    node = typeof next === "object" ? next : {};
  }
  return Object.keys(node.properties ?? {});
}
