import { MeshError, qualityKey, type QualitySubject } from "../bus-schemas/index.ts";
import type { MeshClient } from "../client/index.ts";
import { quality as estimated } from "../router/policy/quality.ts";
import { QualityBucket, type QualityRevision } from "../service/quality-bucket.ts";
import { table } from "./format/table.ts";
import { print, printJson } from "./format/terminal.ts";
import { operator } from "./policy/source.ts";

interface Row extends QualitySubject {
  score: number;
  samples: number;
  updated: string;
  source: string;
  revision: number;
}

/** The entries that routers go by, and the revisions that they do not. */
export async function show(client: MeshClient, model: string | undefined, { json }: { json?: boolean }): Promise<void> {
  const { rows, unfit } = await entries(client);
  const shown = rows.filter((row) => model === undefined || row.model === model);
  const estimate = model === undefined ? null : estimated(model);
  if (json === true) return printJson({ entries: shown, unfit, default: estimate });
  if (shown.length > 0) {
    const cells = shown.map((row) => [
      row.model,
      row.taskType,
      row.score.toFixed(3),
      String(row.samples),
      row.updated,
      row.source,
      String(row.revision),
    ]);
    print(table([["model", "task", "score", "samples", "updated", "source", "revision"], ...cells]));
  } else print(model === undefined ? "no model has an entry" : "this model has no entry");
  for (const { key, revision, reason } of unfit) {
    print(`# revision ${revision} of ${JSON.stringify(key)} is no good, routers do not take it: ${reason}`);
  }
  print(
    model === undefined || estimate === null
      ? "a model without an entry is estimated from the size in its name; see docs/policy.md"
      : `its default at any other task, from its name: ${estimate.toFixed(3)}`,
  );
}

export async function set(
  client: MeshClient,
  subject: QualitySubject,
  score: number,
  { samples, source, json }: { samples: number; source?: string; json?: boolean },
): Promise<void> {
  const bucket = await QualityBucket.open(client.bus);
  const entry = { score, samples, updated_ms: Date.now(), source: source ?? operator() };
  const revision = await bucket.put(subject, entry, operator());
  if (json === true) printJson({ ...subject, ...entry, revision });
  else print(`${subject.model} has ${score} at ${subject.taskType}, revision ${revision}`);
}

export async function unset(client: MeshClient, subject: QualitySubject, { json }: { json?: boolean }): Promise<void> {
  const { rows, unfit, bucket } = await entries(client);
  const key = qualityKey(subject);
  if (![...rows.map(qualityKey), ...unfit.map((each) => each.key)].includes(key))
    throw new MeshError(
      "not_found",
      `${subject.model} has no entry at ${subject.taskType}; see \`tiermesh quality show\``,
    );
  const revision = await bucket.unset(subject, operator());
  const score = estimated(subject.model);
  if (json === true) printJson({ ...subject, revision, default: score });
  else print(`${subject.model} has its default at ${subject.taskType} again: ${score.toFixed(3)}`);
}

/** By the rule that routers go by: the newest good revision of each key. */
async function entries(client: MeshClient) {
  const bucket = await QualityBucket.open(client.bus);
  const rows = new Map<string, Row>();
  const unfit = new Map<string, { key: string; revision: number; reason: string }>();
  for await (const each of bucket.after(0)) {
    const problem = enter(each, rows);
    if (problem === undefined) unfit.delete(each.key);
    else unfit.set(each.key, { key: each.key, revision: each.revision, reason: problem });
  }
  const sorted = [...rows.values()].toSorted((a, b) => compare(a.model, b.model) || compare(a.taskType, b.taskType));
  return { rows: sorted, unfit: [...unfit.values()], bucket };
}

function enter({ key, subject, value, revision }: QualityRevision, rows: Map<string, Row>): string | undefined {
  if (value instanceof MeshError) return value.message;
  if (value === null || subject === undefined) return void rows.delete(key);
  const { updated_ms, ...entry } = value;
  rows.set(key, { ...subject, ...entry, updated: new Date(updated_ms).toISOString(), revision });
  return undefined;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
