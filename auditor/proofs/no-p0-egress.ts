/**
 * The proof that no P0 job went to a cloud: what of a log is looked at, and what must hold. Pure; whoever has the tiles can do the
 * same again, in any language (docs/audit-reading.md has the rules in words).
 */
import { z } from "zod";
import type { Decision, LogEntry } from "../../bus-schemas/index.ts";

export const FORMAT = "tiermesh.no-p0-egress/v1";

/** Events that name where a job is sent, or where it ran. */
const TARGETING: ReadonlySet<string> = new Set([
  "job_decided",
  "job_redispatched",
  "job_hedged",
  "job_ended",
  "job_run_ended",
]);
/** Those of them by which a router decides. */
const DECIDING: ReadonlySet<string> = new Set(["job_decided", "job_redispatched", "job_hedged"]);
/** Layer of the nodes that reach a cloud. */
const CLOUD = "L2";

const Index = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);
const Time = z.iso.datetime();

/** Why an entry contradicts the claim. */
export const VIOLATIONS = {
  p0_to_cloud: "an entry of class P0 that names a node of layer L2",
  p0_job_in_cloud: "an entry that names a node of layer L2, of a job that another entry calls P0",
  undecided_in_cloud:
    "a run in layer L2 of a job that no entry of the log decides, so that its class was decided by nobody",
  unreadable: "an entry of class P0 whose data is not in the tiles, so that nobody can tell where the job went",
} as const;
type Violation = keyof typeof VIOLATIONS;

const Target = z.object({
  index: Index,
  type: z.string(),
  job_id: z.string(),
  node_id: z.string().nullable(),
  layer: z.string().nullable(),
});

/** A proof as a file. Everything but `checkpoint` can be computed from the tiles that the checkpoint covers. */
export const NegativeProof = z.object({
  format: z.literal(FORMAT),
  claim: z.string(),
  /** Times of the entries that it is about, as their senders said them: from, inclusive, to, exclusive. */
  from: Time,
  to: Time,
  /** The signed note under which all entries were read. */
  checkpoint: z.string().max(20_000),
  size: Index,
  /** Index of the first entry that was there to be read; above 0 in a pruned log. */
  first: Index,
  counts: z.object({
    /** Entries that were read: `size - first`. */
    entries: Index,
    /** Of them, with a time in the range. */
    in_range: Index,
    /** Of those, of class P0 and naming where a job goes or ran: listed below. */
    p0: Index,
    /** Of those in the range, naming a node of layer L2 for a job of whatever class. */
    cloud: Index,
    /** Of all: messages that were no events; they have no time, and prove nothing. */
    rejected: Index,
  }),
  p0: z.array(Target),
  violations: z.array(Target.extend({ why: z.enum(Object.keys(VIOLATIONS) as [Violation, ...Violation[]]) })),
  holds: z.boolean(),
});
export type NegativeProof = z.infer<typeof NegativeProof>;
type Target = z.infer<typeof Target>;

export interface ProofRange {
  fromMs: number;
  toMs: number;
}

/** What of an entry the rules look at. */
interface Seen extends Target {
  p0: boolean;
  runs: boolean;
  readable: boolean;
}

interface Facts {
  node_id?: string | null;
  layer?: string | null;
  to_node_id?: string | null;
  decision?: Decision | null;
}

/**
 * Reads all entries of a log, in order, and says what the range comes to.
 * @param entries those from index `first` to `size`, as the tiles have them
 */
export function examine(
  entries: Iterable<LogEntry>,
  { fromMs, toMs }: ProofRange,
  { first, size, checkpoint }: { first: number; size: number; checkpoint: string },
): NegativeProof {
  const counts = { entries: 0, in_range: 0, p0: 0, cloud: 0, rejected: 0 };
  const seen: Seen[] = [];
  const p0Jobs = new Set<string>();
  const decided = new Set<string>();
  let index = first;
  for (const entry of entries) {
    counts.entries++;
    if ("rejected" in entry) counts.rejected++;
    else {
      const { job_id: job, type, security_level: level } = entry;
      const timeMs = Date.parse(entry.time);
      const inRange = timeMs >= fromMs && timeMs < toMs;
      if (inRange) counts.in_range++;
      if (job !== null && level === "P0") p0Jobs.add(job);
      if (job !== null && DECIDING.has(type)) decided.add(job);
      if (inRange && job !== null && TARGETING.has(type)) seen.push(look(entry, index, job));
    }
    index++;
  }
  const cloud = seen.filter(({ layer }) => layer === CLOUD);
  const p0 = seen.filter((one) => one.p0 && (one.node_id !== null || !one.readable)).map(targetOf);
  const violations = seen.flatMap((one) => whyNot(one, p0Jobs, decided).map((why) => ({ ...targetOf(one), why })));
  return {
    format: FORMAT,
    claim: CLAIM,
    from: new Date(fromMs).toISOString(),
    to: new Date(toMs).toISOString(),
    checkpoint,
    size,
    first,
    counts: { ...counts, p0: p0.length, cloud: cloud.length },
    p0,
    violations,
    holds: violations.length === 0,
  };
}

/** What is claimed, in one sentence. */
export const CLAIM =
  "Of all entries that this checkpoint covers, from index first on, none with a time in the range names a node of layer L2 for a job that any entry calls P0, and each run in layer L2 is of a job that a router decided.";

function look(entry: Exclude<LogEntry, { rejected: unknown }>, index: number, jobId: string): Seen {
  const facts = (entry.data ?? {}) as Facts;
  const { decision } = facts;
  const routed = decision?.outcome === "routed";
  return {
    index,
    type: entry.type,
    job_id: jobId,
    node_id: facts.node_id ?? facts.to_node_id ?? (routed ? decision.node_id : null),
    layer: facts.layer ?? (routed ? decision.layer : null),
    p0: entry.security_level === "P0",
    runs: !DECIDING.has(entry.type),
    readable: entry.data !== undefined,
  };
}

function whyNot({ p0, layer, job_id, runs, readable }: Seen, p0Jobs: Set<string>, decided: Set<string>): Violation[] {
  if (!readable) return p0 || p0Jobs.has(job_id) ? ["unreadable"] : [];
  if (layer !== CLOUD) return [];
  if (p0) return ["p0_to_cloud"];
  if (p0Jobs.has(job_id)) return ["p0_job_in_cloud"];
  return runs && !decided.has(job_id) ? ["undecided_in_cloud"] : [];
}

function targetOf({ index, type, job_id, node_id, layer }: Seen): Target {
  return { index, type, job_id, node_id, layer };
}
