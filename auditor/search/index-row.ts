/** What of an entry the search index holds. Pure. */
import type { Caller, DataClass, Decision, EventType, Layer, LogEntry, Outcome } from "../../bus-schemas/index.ts";

/** One entry as it can be searched for; what an entry does not have is null. */
export interface IndexRow {
  sequence: number;
  /** When its sender says that it happened, epoch milliseconds. Null of a message that was no event. */
  timeMs: number | null;
  type: EventType | null;
  source: string | null;
  dataClass: DataClass | null;
  jobId: string | null;
  /** The node it is about: of a hop the one that the job goes to. */
  node: string | null;
  /** Of a hop: the node that the job leaves. */
  fromNode: string | null;
  /** How a job or a run ended, or what was decided. */
  outcome: string | null;
  /** The layer of the node that a job was sent to, or ran on. */
  layer: Layer | null;
  /** When the job must have ended, epoch milliseconds. */
  deadlineMs: number | null;
  energyWh: number | null;
  cost: number | null;
  currency: string | null;
  /** For whom a job is, and for whom that one acts. */
  parties: readonly string[];
}

/** Fields that the events about jobs and nodes share; an entry of the log was checked against its schema when it was made. */
interface Facts {
  node_id?: string | null;
  to_node_id?: string | null;
  from_node_id?: string;
  layer?: Layer | null;
  status?: Outcome;
  state?: string;
  decision?: Decision | null;
  inputs?: { request?: { deadline_unix_ms?: number } } | null;
  deadline_unix_ms?: number;
  energy_wh?: number;
  cost?: { amount: number; currency: string };
  caller?: Caller;
}

/** What a run took is counted by the job's ending: the event of a durable job's run says the same. */
const NOTHING = { energyWh: null, cost: null, currency: null };

export function indexRow(entry: LogEntry): IndexRow {
  const { sequence } = entry;
  if ("rejected" in entry) return { ...EMPTY, sequence };
  // An entry too large for a tile has no data there.
  const facts = (entry.data ?? {}) as Facts;
  const { decision, cost } = facts;
  const routed = decision?.outcome === "routed";
  const spent =
    entry.type === "job_ended"
      ? { energyWh: facts.energy_wh ?? null, cost: cost?.amount ?? null, currency: cost?.currency ?? null }
      : NOTHING;
  return {
    sequence,
    timeMs: Date.parse(entry.time),
    type: entry.type,
    source: entry.source,
    dataClass: entry.security_level,
    jobId: entry.job_id,
    node: facts.node_id ?? facts.to_node_id ?? (routed ? decision.node_id : null),
    fromNode: facts.from_node_id ?? null,
    outcome: facts.status ?? decision?.outcome ?? facts.state ?? null,
    layer: facts.layer ?? (routed ? decision.layer : null),
    deadlineMs: facts.deadline_unix_ms ?? facts.inputs?.request?.deadline_unix_ms ?? null,
    ...spent,
    parties: partiesOf(facts.caller),
  };
}

const NOBODY: readonly string[] = [];

const EMPTY: Omit<IndexRow, "sequence"> = {
  timeMs: null,
  type: null,
  source: null,
  dataClass: null,
  jobId: null,
  node: null,
  fromNode: null,
  outcome: null,
  layer: null,
  deadlineMs: null,
  ...NOTHING,
  parties: NOBODY,
};

function partiesOf(caller: Caller | undefined): readonly string[] {
  return caller === undefined ? NOBODY : [...new Set([caller.id, ...caller.on_behalf_of.map(({ id }) => id)])];
}
