import { readFileSync } from "node:fs";
import { LineCounter, isMap, isScalar, parseDocument, type Document } from "yaml";
import { z } from "zod";
import { DataClass, Layer, MeshError, fieldPath } from "../../bus-schemas/index.ts";
import { Count, ModelName, Ms, SubjectToken, Tokens, TokensPerSecond, Watts } from "../../bus-schemas/units.ts";

/** Larger fleet files are refused before they are parsed, characters. */
const MAX_FILE_CHARS = 1024 * 1024;

/** How fast a model is on one kind of node, with all slots busy. */
const ModelRates = z.strictObject({
  name: ModelName,
  prefill_tokens_per_second: TokensPerSecond.min(1),
  ms_per_token: Ms.min(0.01),
});
export type ModelRates = z.infer<typeof ModelRates>;

/** Nodes that are alike. */
const NodeGroup = z.strictObject({
  /** Nodes are called `<name>-01`, `<name>-02`, … */
  name: SubjectToken,
  layer: Layer,
  count: Count.min(1).max(10_000),
  slots: Count.min(1).max(4096),
  models: z.array(ModelRates).min(1).max(50),
  /** SEED's `cost_factor`: 1 = a cloud token of the same model. */
  cost_factor: z.number().min(0).max(1000).default(1),
  /** One way between router and node, the median. */
  network_ms: Ms.max(10_000).default(0.5),
  /** Prompt tokens that its prefix cache holds; 0 = it has none. */
  prefix_cache_tokens: Tokens.default(0),
  /** Of one node; without it energy is not counted. */
  watts: z.strictObject({ idle: Watts, busy: Watts }).optional(),
  /** Where the rates come from. */
  source: z.string().max(500).optional(),
});
export type NodeGroup = z.infer<typeof NodeGroup>;

/** A share of the jobs that ask for the same thing. */
const JobKind = z.strictObject({
  share: z.number().min(0).max(1_000_000),
  security_level: DataClass.default("P2"),
  /** Without one any model does. */
  model: ModelName.optional(),
});
export type JobKind = z.infer<typeof JobKind>;

/** A fleet for `tiermesh simulate`. */
const FleetFile = z.strictObject({
  title: z.string().min(1).max(200),
  nodes: z.array(NodeGroup).min(1).max(1000),
  jobs: z
    .array(JobKind)
    .min(1)
    .max(8)
    .default([{ share: 1, security_level: "P2" }]),
  /** US dollars per kWh. */
  electricity_usd_per_kwh: z.number().min(0).max(100).default(0.1),
});
export type FleetFile = z.infer<typeof FleetFile>;

/** @throws MeshError `bad_config` with file, line, path and what was expected. */
export function readFleetFile(path: string): FleetFile {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (cause) {
    throw new MeshError(
      "bad_config",
      `${path}: cannot be read; give a fleet file such as deploy/examples/fleet-*.yaml`,
      {
        cause,
      },
    );
  }
  return parseFleetFile(text, path);
}

/** @see readFleetFile; `name` stands for the file in messages. */
export function parseFleetFile(text: string, name: string): FleetFile {
  if (text.length > MAX_FILE_CHARS)
    throw new MeshError("bad_config", `${name}: larger than ${MAX_FILE_CHARS} characters`);
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true });
  const broken = document.errors[0];
  if (broken !== undefined)
    throw new MeshError(
      "bad_config",
      `${name}:${lines.linePos(broken.pos[0]).line}: not YAML: ${broken.message.split("\n")[0]}`,
    );
  const result = FleetFile.safeParse(plain(document, name) ?? {});
  if (!result.success) {
    const issue = result.error.issues[0];
    const path = [...(issue?.path ?? []), ...(issue?.code === "unrecognized_keys" ? issue.keys.slice(0, 1) : [])];
    const what = issue?.code === "unrecognized_keys" ? "unknown key" : (issue?.message ?? "not valid");
    throw problem(document, lines, name, path, what);
  }
  const names = result.data.nodes.map((group) => group.name);
  const again = names.findIndex((each, i) => names.indexOf(each) < i);
  if (again >= 0) throw problem(document, lines, name, ["nodes", again, "name"], "two groups have this name");
  if (!result.data.jobs.some((kind) => kind.share > 0))
    throw problem(document, lines, name, ["jobs"], "no share is above 0");
  return result.data;
}

function plain(document: Document, name: string): unknown {
  try {
    return document.toJS({ maxAliasCount: 100 });
  } catch {
    throw new MeshError("bad_config", `${name}: too many aliases (a YAML bomb?)`);
  }
}

function problem(document: Document, lines: LineCounter, name: string, path: PropertyKey[], what: string): MeshError {
  const field = fieldPath(path);
  const at = `${name}:${lineOf(document, path, lines)}`;
  return new MeshError("bad_config", `${at}: ${field === "" ? "the file" : field}: ${what}`, { field });
}

/** Line of the deepest part of the path that is in the file. */
function lineOf(document: Document, path: readonly PropertyKey[], lines: LineCounter): number {
  for (let length = path.length; length > 0; length--) {
    const key = path[length - 1];
    const parent = document.getIn(path.slice(0, length - 1), true);
    const pair = isMap(parent) ? parent.items.find((item) => isScalar(item.key) && item.key.value === key) : undefined;
    const node = isScalar(pair?.key) ? pair.key : document.getIn(path.slice(0, length), true);
    const range = (node as { range?: [number, number, number] } | undefined)?.range;
    if (range !== undefined) return lines.linePos(range[0]).line;
  }
  return 1;
}
