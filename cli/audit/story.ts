/** One job's entries of the log as a person reads them. */
import type {
  AuditEntry,
  Caller,
  ClassifiedBy,
  Commitments,
  Decision,
  EventData,
  EventType,
  WireError,
} from "../../bus-schemas/index.ts";
import { formatDecision } from "../format/decision.ts";
import { harmless } from "../format/terminal.ts";

/** What the entries of a job come to. */
export interface JobStory {
  job_id: string;
  security_level: string | null;
  /** How it ended; null while the log has no ending of it. */
  status: string | null;
  node_id: string | null;
  model: string | null;
  /** Nodes that it was sent to, in their order. */
  nodes: string[];
  energy_wh: number | null;
  cost: { amount: number; currency: string } | null;
  /** For whom it was, as it said. */
  caller: Caller | null;
  traceparent: string | null;
  entries: AuditEntry[];
}

type Sentence<T extends EventType> = (data: EventData<T>, entry: AuditEntry) => string[];

/** How each event of a job is told. */
const SENTENCES: { [T in EventType]?: Sentence<T> } = {
  class_mismatch: ({ header, body, security_level }) => [
    `declared as ${quoted(header)} in the header and ${quoted(body)} in the body: handled as ${security_level}`,
  ],
  job_decided: ({ attempt, decision, sizes, waited_ms, declared, caller }) => [
    ...(waited_ms === undefined ? [] : [`had waited ${span(waited_ms)} in the router for a free node`]),
    `decided${attempt > 1 ? `, try ${attempt}` : ""}: ${where(decision)} (${sizes.request_bytes} bytes, about ${sizes.prompt_tokens_estimate} prompt tokens)`,
    ...(declared === undefined ? [] : [`class ${decision.security_level}, ${CLASSIFIED[declared.classified_by]}`]),
    ...(caller === undefined ? [] : [forWhom(caller)]),
    ...told(decision),
  ],
  job_queued: ({ queue, deadline_unix_ms }) => [
    `kept in the queue ${queue}, until ${new Date(deadline_unix_ms).toISOString()} at the latest`,
  ],
  job_requeued: ({ queue, by }) => [`sent back to the queue ${queue} by ${by}`],
  job_redispatched: ({ attempt, from_node_id, to_node_id, error, decision }) => [
    `${from_node_id} does not run it: ${why(error)}`,
    to_node_id === null ? "goes nowhere from here" : `goes on at ${to_node_id}, try ${attempt}`,
    ...(decision === null ? [] : told(decision)),
  ],
  job_hedged: ({ attempt, from_node_id, to_node_id, decision }) => [
    `${from_node_id} has said nothing yet: also given to ${to_node_id}, try ${attempt}; the first that speaks tells it`,
    ...told(decision),
  ],
  job_run_ended: ({ status, node_id, fence, error, commitments }) => [
    `run ${fence} on ${node_id} ${status}${error === null ? "" : `: ${why(error)}`}`,
    ...committed(commitments),
  ],
  job_dead: ({ attempts, error }) => [
    `failed for good after ${attempts} tries: ${why(error)}; it lies among the dead letters`,
  ],
  job_ended: (data) => ending(data),
};

const CLASSIFIED: Record<ClassifiedBy, string> = {
  caller: "as its caller declared",
  policy_default: "by the policy's default: its caller declared none that is one",
  likely_meaning: "as its caller's unreadable declaration may have meant",
};

/** Puts a job's entries, in the log's order, into one story. */
export function storyOf(jobId: string, entries: readonly AuditEntry[]): JobStory {
  const of = <T extends EventType>(type: T) =>
    entries.filter((entry) => entry.type === type).map((entry) => entry.data as EventData<T>);
  const end = of("job_ended").at(-1);
  const hops = [...of("job_redispatched"), ...of("job_hedged")].map((hop) => hop.to_node_id);
  const nodes = [...of("job_decided").map(({ decision }) => decision.node_id), ...hops].filter((node) => node !== null);
  const last = entries.at(-1);
  return {
    job_id: jobId,
    security_level: last?.security_level ?? null,
    status: end?.status ?? (of("job_dead").length > 0 ? "failed" : null),
    node_id: end?.node_id ?? null,
    model: end?.model ?? null,
    nodes,
    energy_wh: end?.energy_wh ?? null,
    cost: end?.cost ?? null,
    caller: of("job_decided")[0]?.caller ?? end?.caller ?? null,
    traceparent: entries.find((entry) => entry.traceparent !== null)?.traceparent ?? null,
    entries: [...entries],
  };
}

/** The story as lines; times count from the first entry. */
export function formatStory(story: JobStory): string {
  const { entries } = story;
  const beganMs = Date.parse(entries[0]?.time ?? "");
  const head = [
    `job ${story.job_id}${story.security_level === null ? "" : `, class ${story.security_level}`}: ${story.status ?? "no ending in the log yet"}`,
    `from ${entries[0]?.time ?? "?"}${story.traceparent === null ? "" : `, trace ${story.traceparent.split("-")[1] ?? ""}`}`,
  ];
  const lines = entries.flatMap((entry) => {
    const sentence = SENTENCES[entry.type] as Sentence<EventType> | undefined;
    const [first = "", ...rest] =
      sentence === undefined || entry.data === undefined ? [entry.type] : sentence(entry.data as never, entry);
    const at = `+${span(Date.parse(entry.time) - beganMs)}`.padEnd(10);
    const by = `[${entry.source} #${entry.sequence}]`;
    return [
      "",
      `${at}${first}  ${by}`,
      ...rest.flatMap((text) => text.split("\n")).map((text) => `${" ".repeat(10)}${text}`),
    ];
  });
  return harmless([...head, ...lines].join("\n"));
}

/** `in the house, CN, model sha256:b179c952…`: as the node said it. */
function placeOf({ layer, target }: Decision): string {
  const place = (target?.place ?? (layer === "L2" ? "cloud" : "local")) === "cloud" ? "a cloud" : "in the house";
  const digest = target?.model_digest ?? null;
  return [place, target?.jurisdiction, digest === null ? null : `digest ${digest.slice(0, 19)}…`]
    .filter((part) => part !== null && part !== undefined)
    .join(", ");
}

function where(decision: Decision): string {
  if (decision.outcome === "refused") return `refused: ${why(decision.error)}`;
  const { node_id, layer, model } = decision;
  return `${node_id ?? "?"} (${layer ?? "?"}), model ${model ?? "?"}, ${placeOf(decision)}`;
}

/** Why it went there, each candidate with its scores or what removed it, and what would come next. */
function told(decision: Decision): string[] {
  const next = decision.alternatives.map(({ node_id }) => node_id);
  return [formatDecision(decision), ...(next.length === 0 ? [] : [`next in line: ${next.join(", ")}`])];
}

function ending(data: EventData<"job_ended">): string[] {
  const { status, node_id, layer, model, usage, timing, error, cost, energy_wh, finish_reason, waited_ms } = data;
  const place =
    node_id === null ? "" : ` on ${node_id}${layer === null ? "" : ` (${layer})`}${model === null ? "" : `, ${model}`}`;
  const facts = [
    usage === null
      ? undefined
      : `${usage.prompt_tokens} tokens read, ${usage.completion_tokens} written${usage.estimated ? " (estimated)" : ""}`,
    timing === null
      ? undefined
      : `queued ${span(timing.queued_ms)}, ${timing.ttft_ms === null ? "" : `first token after ${span(timing.ttft_ms)}, `}${span(timing.total_ms)} in all`,
    waited_ms === undefined ? undefined : `had waited ${span(waited_ms)} in the router`,
    energy_wh === undefined ? undefined : `${energy_wh.toPrecision(3)} Wh`,
    cost === undefined ? undefined : `${cost.amount} ${cost.currency}`,
    finish_reason === null ? undefined : `ended by ${finish_reason}`,
  ].filter((fact) => fact !== undefined);
  return [
    `${status}${place}${error === null ? "" : `: ${why(error)}`}`,
    ...(facts.length === 0 ? [] : [facts.join(" · ")]),
    ...committed(data.commitments),
  ];
}

/** `for service crm, on behalf of user alice, as its gateway was told`. */
export function forWhom({ id, kind, on_behalf_of: chain, declared_by, pseudonyms }: Caller): string {
  const acts = chain.map((party) => `, on behalf of ${party.kind} ${party.id}`).join("");
  const said = declared_by === "gateway" ? "as was said at the gateway" : "as its client says";
  return `for ${kind} ${id}${acts}, ${said}${pseudonyms ? "; pseudonyms" : ""}`;
}

/** What the node commits to, and who has the salt. */
function committed(commitments: Commitments | undefined): string[] {
  if (commitments === undefined) return [];
  const { salt_from: from, ...said } = commitments;
  const names = Object.entries(said).map(
    ([what, value]) => `${what.slice(0, -5).replace("_", " ")} ${(value ?? "").slice(12, 24)}…`,
  );
  const who = from === "caller" ? "the job brought the salt" : "its caller was handed the salt";
  return [`commits to ${names.join(", ")}; ${who}`];
}

function why(error: WireError | null): string {
  return error === null ? "no reason given" : `${error.message} (${error.code})`;
}

function quoted(value: string | null): string {
  return value === null ? "nothing" : `“${value}”`;
}

/** `12 ms`, `3.4 s`, `5 min`. */
function span(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  return ms < 120_000 ? `${(ms / 1000).toFixed(1)} s` : `${Math.round(ms / 60_000)} min`;
}
