import { readFileSync } from "node:fs";
import { MAX_AUDIT_PAGE, MeshError, type AuditEntry } from "../../bus-schemas/index.ts";
import type { MeshClient } from "../../client/index.ts";
import { PolicyBucket } from "../../service/policy-bucket.ts";
import { VERSION } from "../../service/version.ts";
import { queryAudit } from "../audit-client.ts";
import { EXIT } from "../command.ts";
import { print, printJson } from "../format/terminal.ts";
import { withClient } from "../with-client.ts";
import { entriesIn } from "./log-files.ts";
import { PolicyTexts, textOf, type PolicySource } from "./policy-texts.ts";
import { holdsDecision, replayEntry, type ReplayedDecision } from "./replay-entry.ts";

export interface ReplayFlags {
  file?: string;
  last?: number;
  policy: string[];
  json?: boolean;
}

/** Decisions that are made again when it is not said how many. */
const DEFAULT_LAST = 20;

/** Ends with 1 unless every decision was made again and is the same. */
export async function replay(jobId: string | undefined, flags: ReplayFlags): Promise<void> {
  const files: PolicySource = async () => flags.policy.map(read);
  const { file } = flags;
  if (file !== undefined) {
    const logged: PolicySource = async () => textsIn(file);
    const policies = new PolicyTexts([files, logged]);
    return report(await replayAll(entriesOf(file, jobId, flags.last), policies), flags);
  }
  await withClient(async (client) => {
    const policies = new PolicyTexts([files, () => logged(client), () => kept(client)]);
    report(await replayAll(await recent(client, jobId, flags.last ?? DEFAULT_LAST), policies), flags);
  });
}

async function replayAll(
  entries: Iterable<AuditEntry> | AsyncIterable<AuditEntry>,
  policies: PolicyTexts,
): Promise<ReplayedDecision[]> {
  const replayed: ReplayedDecision[] = [];
  for await (const entry of entries) if (holdsDecision(entry)) replayed.push(await replayEntry(entry, policies));
  return replayed;
}

async function* entriesOf(file: string, jobId: string | undefined, last: number | undefined) {
  const newest: AuditEntry[] = [];
  for await (const entry of entriesIn(file)) {
    if (!holdsDecision(entry) || (jobId !== undefined && entry.job_id !== jobId)) continue;
    if (last === undefined) yield entry;
    else if (newest.push(entry) > last) newest.shift();
  }
  yield* newest;
}

async function recent(client: MeshClient, jobId: string | undefined, last: number): Promise<AuditEntry[]> {
  const query = jobId === undefined ? { type: "job_decided" as const, limit: last } : { job_id: jobId };
  const { events, note } = await queryAudit(client, { limit: MAX_AUDIT_PAGE, ...query });
  if (jobId !== undefined && !events.some(holdsDecision)) {
    const older = note === null ? "" : `; ${note}: tiermesh audit replay ${jobId} --file FOLDER`;
    throw new MeshError("not_found", `the log holds no decision on job ${jobId}${older}`);
  }
  return events;
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    throw new MeshError("bad_config", `${path}: cannot be read`, { cause });
  }
}

async function textsIn(file: string): Promise<Set<string>> {
  const texts = new Set<string>();
  for await (const entry of entriesIn(file)) {
    const text = textOf(entry);
    if (text !== undefined) texts.add(text);
  }
  return texts;
}

async function logged(client: MeshClient): Promise<string[]> {
  const { events } = await queryAudit(client, { type: "policy_changed", limit: MAX_AUDIT_PAGE });
  return events.map(textOf).filter((text) => text !== undefined);
}

/** The bus keeps 64 revisions. */
async function kept(client: MeshClient): Promise<string[]> {
  const texts: string[] = [];
  for await (const { text } of (await PolicyBucket.open(client.bus)).newestFirst()) {
    if (text !== undefined) texts.push(text);
  }
  return texts;
}

function report(replayed: readonly ReplayedDecision[], { json }: ReplayFlags): void {
  const counts = { same: 0, different: 0, not_replayable: 0 };
  for (const { state } of replayed) counts[state]++;
  if (counts.same < replayed.length || replayed.length === 0) process.exitCode = EXIT.failed;
  if (json === true) return printJson({ ...counts, software: VERSION, decisions: replayed });
  if (replayed.length === 0) return print("the log holds no decision yet");
  for (const decision of replayed) for (const line of lines(decision)) print(line.replace(/\p{Cc}/gu, "?"));
  const { same, different, not_replayable: not } = counts;
  print(`${replayed.length} decisions made again: ${same} the same, ${different} different, ${not} not replayable`);
}

function lines(decision: ReplayedDecision): string[] {
  const { sequence, job_id, state, node_id, model, outcome, whole, candidates, differences, error } = decision;
  const where = outcome === "routed" ? `${node_id} ${model}` : outcome;
  const head = `#${sequence} job=${job_id} ${state.replace("_", " ")}`;
  if (error !== null) return [`${head}: ${error.message}`];
  const scope = whole ? "all it could choose from" : "of a larger fleet";
  const first = `${head}: ${where}; ${candidates} candidates, ${scope}`;
  if (differences.length === 0) return [first];
  const by = decision.software === VERSION ? "" : `  decided by ${decision.software}, made again by ${VERSION}`;
  return [
    first,
    ...(by === "" ? [] : [by]),
    ...differences.map(({ path, recorded, replayed }) => `  ${path}: recorded ${show(recorded)}, is ${show(replayed)}`),
  ];
}

function show(value: unknown): string {
  return JSON.stringify(value) ?? "nothing";
}
