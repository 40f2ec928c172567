import type { DeadLetter, DurableState, JobStatus, QueueDepth } from "../../bus-schemas/index.ts";
import type { MeshClient } from "../../client/index.ts";
import { table } from "../format/table.ts";
import { dim, harmless, note, print, printJson, yellow } from "../format/terminal.ts";

interface ListFlags {
  queue?: string;
  state?: DurableState;
  limit: number;
  json?: boolean;
}

/** The queues as the broker counts them, and the jobs in them. */
export async function list(client: MeshClient, { json, ...asked }: ListFlags): Promise<void> {
  const answer = await client.durable.desk("list", asked);
  if (json === true) return printJson(answer);
  print(queueTable(answer.queues));
  print();
  print(answer.jobs.length === 0 ? "no durable jobs are known" : jobTable(answer.jobs, Date.now()));
  if (answer.more) note(dim(`only the first ${asked.limit}; --limit shows more, --queue and --state fewer`));
}

/** Dead letters, without what is in them. */
export async function dead(client: MeshClient, { json, ...asked }: Omit<ListFlags, "state">): Promise<void> {
  const answer = await client.durable.desk("dead", asked);
  if (json === true) return printJson(answer);
  print(answer.letters.length === 0 ? "no dead letters" : letterTable(answer.letters, Date.now()));
  if (answer.more) note(dim(`only the first ${asked.limit}; --limit shows more`));
}

/** One job; its content only when that was asked for. */
export async function show(
  client: MeshClient,
  id: string,
  { content = false, json }: { content?: boolean; json?: boolean },
): Promise<void> {
  // Who may ask for a job may have its answer; at a terminal that is content, too.
  const { result, ...status } = await client.jobStatus(id);
  const inside = content ? await client.durable.desk("content", { id }) : undefined;
  if (json === true) return printJson({ ...status, ...(content ? { ...inside, result } : {}) });
  for (const [name, value] of facts(status)) print(`${name.padEnd(12)}${harmless(value)}`);
  if (status.error !== null) print(yellow(harmless(`${status.error.code}: ${status.error.message}`)));
  if (inside === undefined) return;
  print(`\n${dim("job")}\n${harmless(inside.request ?? "no longer kept")}`);
  print(`\n${dim("answer")}\n${harmless(result?.message?.content ?? "none")}`);
}

function facts(status: Omit<JobStatus, "result">): [string, string][] {
  const at = (ms: number) => new Date(ms).toISOString();
  return [
    ["job", status.job_id],
    ["queue", status.queue],
    ["state", status.state],
    ["class", status.security_level],
    ["node", status.node_id ?? "none yet"],
    ["attempts", String(status.attempts)],
    ["queued", at(status.queued_unix_ms)],
    ["changed", at(status.changed_unix_ms)],
    ["deadline", at(status.deadline_unix_ms)],
    ["decision", status.decision_id ?? "none yet"],
  ];
}

export function queueTable(queues: readonly QueueDepth[]): string {
  const rows = queues.map(({ queue, waiting, in_hand, max_concurrency }) => [
    queue,
    String(waiting),
    String(in_hand),
    String(max_concurrency),
  ]);
  return table([["queue", "waiting", "in hand", "at most"], ...rows]);
}

export function jobTable(jobs: readonly JobStatus[], nowMs: number): string {
  const rows = jobs.map((job) => [
    job.job_id,
    job.queue,
    job.state,
    job.security_level,
    String(job.attempts),
    job.node_id ?? "–",
    ago(nowMs - job.changed_unix_ms),
    job.error?.code ?? "",
  ]);
  return table([["job", "queue", "state", "class", "attempts", "node", "since", "error"], ...rows]);
}

function letterTable(letters: readonly DeadLetter[], nowMs: number): string {
  const rows = letters.map((letter) => [
    letter.id,
    letter.queue,
    letter.is_job ? (letter.security_level ?? "–") : "no job",
    String(letter.attempts),
    letter.node_id ?? "–",
    ago(nowMs - letter.died_unix_ms),
    `${letter.error.code}: ${letter.error.message}`.slice(0, 80),
  ]);
  return table([["id", "queue", "class", "attempts", "node", "died", "why"], ...rows]);
}

/** `5 s`, `3 min`, `2 h`, `4 d` ago. */
function ago(ms: number): string {
  const steps: [number, string][] = [
    [86_400_000, "d"],
    [3_600_000, "h"],
    [60_000, "min"],
  ];
  for (const [unit, name] of steps) if (ms >= unit) return `${Math.floor(ms / unit)} ${name}`;
  return `${Math.max(0, Math.round(ms / 1000))} s`;
}
