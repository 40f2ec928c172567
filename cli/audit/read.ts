/** What `tiermesh audit` prints of the log. */
import path from "node:path";
import { openCheckpoint } from "../../auditor/tlog/checkpoint.ts";
import { readCheckpoint } from "../../auditor/tlog/verify.ts";
import { rebuildIndex } from "../../auditor/search/build.ts";
import { INDEX_FILE } from "../../auditor/search/search-index.ts";
import { MeshError, type AuditQueryInput, type AuditStats } from "../../bus-schemas/index.ts";
import { pause } from "../../service/loop.ts";
import { auditLine } from "../format/audit.ts";
import { table } from "../format/table.ts";
import { note, print, printJson } from "../format/terminal.ts";
import { filterOf, type FilterFlags } from "./filter.ts";
import { logPlace } from "./log-folder.ts";
import { allEntries, withSource, type AuditSource, type SourceFlags } from "./source.ts";
import { formatStory, storyOf } from "./story.ts";

/** How often `--follow` asks for what is new, milliseconds. */
const FOLLOW_EVERY_MS = 500;

export interface QueryFlags extends FilterFlags, SourceFlags {
  limit: number;
  after?: number;
  json?: boolean;
}

export interface TailFlags extends FilterFlags {
  lines: number;
  follow?: boolean;
  json?: boolean;
}

/** Entries that fit, oldest first. */
export function query(flags: QueryFlags): Promise<void> {
  const { limit, after, json } = flags;
  return withSource(flags, async (source) => {
    const about = { ...filterOf(flags), limit, ...(after === undefined ? {} : { after_sequence: after }) };
    const { count } = await show(source, about, json === true);
    if (json === true) await source.exported(described(about), count);
  });
}

/** The newest entries, and with `follow` those that come, until the process is told to end. */
export function tail(flags: TailFlags): Promise<void> {
  return withSource({}, async (source) => {
    const about = filterOf(flags);
    const json = flags.json === true;
    let { next } = await show(source, { ...about, limit: flags.lines }, json);
    while (flags.follow === true) {
      await pause(FOLLOW_EVERY_MS);
      try {
        ({ next } = await show(source, { ...about, after_sequence: next, limit: 1000 }, json));
      } catch (error) {
        // An auditor that is started anew is gone for a moment; what it records meanwhile comes behind `next`.
        if (!(error instanceof MeshError && error.code === "audit_unavailable")) throw error;
        note(`${error.message}; trying again`);
      }
    }
  });
}

/** @throws MeshError `not_found` when the log has nothing of the job */
export function trace(jobId: string, flags: SourceFlags & { json?: boolean }): Promise<void> {
  return withSource(flags, async (source) => {
    const entries = await Array.fromAsync(allEntries(source, { job_id: jobId }));
    if (entries.length === 0)
      throw new MeshError(
        "not_found",
        `nothing of job ${jobId} in the log; what has just happened is there within two seconds`,
      );
    const story = storyOf(jobId, entries);
    if (flags.json !== true) return print(formatStory(story));
    printJson(story);
    await source.exported(`trace ${jobId}`, entries.length);
  });
}

export function stats(flags: FilterFlags & SourceFlags & { json?: boolean }): Promise<void> {
  return withSource(flags, async (source) => {
    const found = await source.stats(filterOf(flags));
    if (flags.json === true) printJson(found);
    else print(statsText(found));
  });
}

/** Makes the search index of a log anew from its tiles. */
export function reindex({ offline, key: keyFile, json }: SourceFlags & { json?: boolean }): void {
  const { folder, key, keys } = logPlace(offline, keyFile);
  const auditDir = path.dirname(folder);
  const beganMs = performance.now();
  const log = { tlog: folder, keys, checkpoint: openCheckpoint(readCheckpoint(folder), key) };
  const entries = rebuildIndex(auditDir, log);
  const seconds = (performance.now() - beganMs) / 1000;
  const file = path.join(auditDir, INDEX_FILE);
  if (json === true) printJson({ file, entries, seconds });
  else print(`${file}: ${entries} entries in ${seconds.toFixed(1)} s`);
}

/** What was asked for, in a line of a record. */
function described(about: AuditQueryInput): string {
  return Object.entries(about)
    .map(([name, value]) => `${name}=${String(value)}`)
    .join(" ")
    .slice(0, 200);
}

async function show(
  source: AuditSource,
  about: AuditQueryInput,
  json: boolean,
): Promise<{ next: number; count: number }> {
  const page = await source.query(about);
  for (const entry of page.events) print(json ? JSON.stringify(entry) : auditLine(entry));
  if (page.note !== null) note(page.note);
  return { next: page.next, count: page.events.length };
}

function statsText(found: AuditStats): string {
  const rows = (title: string, counts: Record<string, number>) =>
    Object.keys(counts).length === 0
      ? []
      : ["", table([[title, "count"], ...Object.entries(counts).map(([name, count]) => [name, String(count)])])];
  const cost = Object.entries(found.cost).map(([currency, amount]) => `${amount.toFixed(4)} ${currency}`);
  return [
    `${found.entries} entries about ${found.jobs} jobs${found.first_time === null ? "" : `, from ${found.first_time} to ${found.last_time ?? ""}`}`,
    ...(found.energy_wh === null ? [] : [`${found.energy_wh.toPrecision(4)} Wh, where the node's power is known`]),
    ...(cost.length === 0 ? [] : [`${cost.join(", ")}, where the node knows a price`]),
    ...rows("ending", found.endings),
    ...rows("class", found.by_class),
    ...rows("node", Object.fromEntries(found.nodes.map(({ node_id, jobs }) => [node_id, jobs]))),
    ...rows("type", found.by_type),
  ].join("\n");
}
