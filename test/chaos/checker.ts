import { ERROR_CODES, type ErrorCode } from "../../bus-schemas/index.ts";
import type { RuntimeNote } from "../kit/fake-runtime.ts";
import type { ClientJob, FaultNote } from "./history.ts";
import type { SignedLog } from "./strangers.ts";
import { GRACE_MS, traceOf } from "./ways.ts";

/** An event as the stream holds it. */
export interface StoredEvent {
  streamSequence: number;
  /** When the stream took it, wall clock. */
  storedMs: number;
  id: string;
  type: string;
  traceparent: string | null;
  data: { job_id?: string; status?: string; security_level?: string; decision?: { security_level?: string } | null };
}

/** A line of the auditor's log. */
export interface LogLine {
  stream_sequence: number;
  id?: string;
  type?: string;
}

/** What was written down by those who do not believe the mesh: its clients, its runtimes, its stream. */
export interface History {
  jobs: readonly ClientJob[];
  faults: readonly FaultNote[];
  stream: readonly StoredEvent[];
  log: readonly LogLine[];
  /** Ids of the events that the stream acknowledged to the recorders. */
  acknowledged: readonly string[];
  signed: readonly SignedLog[];
  runs: readonly (RuntimeNote & { file: string })[];
  /** Of each runtime. */
  slots: number;
  /** Most jobs of the one queue at once, by the policy. */
  queueCap: number;
}

export interface Verdict {
  violations: string[];
  /** What is not as in quiet times, and why that is no violation: what → how often. */
  explained: Map<string, number>;
  mostAtOnce: number;
}

/** What a fault does may be felt for this long before and after it, milliseconds: lost connections are found by pings. */
const AROUND_MS = { before: 500, after: 20_000 };
/** Clocks of one machine, read by several processes, milliseconds. */
const CLOCK_MS = 5;

/** Faults that keep a gateway from its callers. */
const AWAY = ["freeze gateway", "network cut"];

/** Decides whether a history keeps the mesh's promises (docs/reliability.md). Asks the mesh nothing. */
export function check(history: History): Verdict {
  const verdict: Verdict = { violations: [], explained: new Map(), mostAtOnce: 0 };
  const bad = (line: string) => void verdict.violations.push(line);
  const explain = (line: string) => void verdict.explained.set(line, (verdict.explained.get(line) ?? 0) + 1);
  for (const job of history.jobs) checkEnding(job, history.faults, bad, explain);
  checkRecord(history, bad, explain);
  checkRuns(history, bad);
  verdict.mostAtOnce = checkCaps(history, bad);
  checkLog(history, bad);
  return verdict;
}

/** A fault that was at work while the job was: in words, or undefined. */
function faultDuring(job: ClientJob, faults: readonly FaultNote[]): string | undefined {
  const endMs = job.endings[0]?.atMs ?? job.sentMs + job.limitMs + GRACE_MS;
  return faults.find(
    ({ injectedMs, releasedMs, healedMs }) =>
      injectedMs - AROUND_MS.before <= endMs &&
      Math.max(releasedMs, Math.min(healedMs ?? Infinity, releasedMs + AROUND_MS.after)) >= job.sentMs,
  )?.name;
}

/** Whether frames that came in order, each once, had others between them that did not come. */
function hasGap(seqs: string | undefined): boolean {
  const numbers = (seqs ?? "").split(" ").map(Number);
  const ordered = numbers.every((seq, i) => i === 0 || seq > (numbers[i - 1] ?? 0));
  return ordered && numbers.length > 1 && (numbers.at(-1) ?? 0) - (numbers[0] ?? 0) >= numbers.length;
}

/** Whether a fault was at work from one moment to another without a break. */
function spans({ name, injectedMs, releasedMs }: FaultNote, what: string, fromMs: number, toMs: number): boolean {
  return name === what && injectedMs <= fromMs && toMs <= releasedMs;
}

function checkEnding(
  job: ClientJob,
  faults: readonly FaultNote[],
  bad: (line: string) => void,
  explain: (line: string) => void,
): void {
  const [first, ...more] = job.endings;
  const name = `${job.way} job ${job.job} (${job.dataClass})`;
  if (first === undefined) return bad(`${name}: its client wrote down no ending at all`);
  // What its client gave up is not an ending of the mesh's.
  const told = job.endings.filter(({ how }) => how !== "silence");
  if (more.length > 0 && told.length > 1)
    return bad(`${name}: ${told.length} endings: ${told.map(({ how }) => how).join(", ")}`);
  const fault = faultDuring(job, faults);
  const tookMs = first.atMs - job.sentMs;
  if (tookMs > job.limitMs + GRACE_MS + 500) bad(`${name}: ended after ${tookMs} ms, ${job.limitMs} were given`);
  if (first.how === "answer") {
    if (first.whole) return;
    // The bus delivers at most once: what is on its way through a server that dies is lost to who asked by hand. The numbers of the
    // frames show it, and MeshClient looks at them.
    return job.way === "hand" && fault !== undefined && hasGap(first.seqs)
      ? explain(`frames missing by hand, as their numbers show, during: ${fault}`)
      : bad(`${name}: an answer that is not whole`);
  }
  if (first.how === job.expects) return;
  if (first.how === "silence") {
    // One request and no second try: when the router or the server that held it dies, only the caller's own limit tells.
    if (job.way === "hand" && fault !== undefined)
      return explain(`silence by hand${job.acceptedMs === undefined ? "" : " after acceptance"}, during: ${fault}`);
    // A gateway that stands still, or that the network does not lead to, answers nobody; whoever waits for less than that hears nothing.
    const away = AWAY.find((what) => faults.some((each) => spans(each, what, job.sentMs, first.atMs)));
    return job.way === "http" && away !== undefined
      ? explain(`silence by HTTP, all the time of: ${away}`)
      : bad(`${name}: silence`);
  }
  const retryable =
    first.how.startsWith("tcp ") ||
    first.how === "deadline_exceeded" ||
    (Object.hasOwn(ERROR_CODES, first.how) && ERROR_CODES[first.how as ErrorCode].retryable);
  if (!retryable) return bad(`${name}: ${first.how}, which tells its caller not to try again`);
  if (fault === undefined) return bad(`${name}: ${first.how}, and nothing was wrong`);
}

/** The name that the record has for a client's job. */
function recordNames(history: History): Map<string, string> {
  const byTrace = new Map(
    history.stream
      .filter(({ traceparent, type }) => traceparent !== null && type === "job_decided")
      .map(({ data, traceparent }) => [traceparent?.slice(3, 35) ?? "", data.job_id ?? ""]),
  );
  const names = new Map<string, string>();
  for (const { endings, job, way } of history.jobs) {
    const known = way === "http" ? (endings[0]?.meshJob ?? byTrace.get(traceOf(job).slice(3, 35))) : job;
    if (known !== undefined) names.set(job, known);
  }
  return names;
}

function checkRecord(history: History, bad: (line: string) => void, explain: (line: string) => void): void {
  const names = recordNames(history);
  const byJob = Map.groupBy(history.stream, ({ data }) => data.job_id);
  const decidedAt = new Map<string, number>();
  for (const { data, storedMs, type } of history.stream) {
    if (type !== "job_decided" || data.job_id === undefined) continue;
    decidedAt.set(data.job_id, Math.min(decidedAt.get(data.job_id) ?? Infinity, storedMs));
  }
  for (const job of history.jobs) {
    const meshJob = names.get(job.job);
    if (meshJob === undefined) continue;
    const events = byJob.get(meshJob) ?? [];
    const endings = events.filter(({ type }) => type === "job_ended");
    const name = `${job.way} job ${job.job} (${job.dataClass})`;
    for (const { data, type } of events)
      if (type === "job_decided" && (data.decision?.security_level ?? job.dataClass) !== job.dataClass)
        bad(`${name}: decided as ${data.decision?.security_level}`);
    if (job.endings[0]?.how === "answer" && !endings.some(({ data }) => data.status === "finished"))
      bad(`${name}: answered, and no ending in the record`);
    if (endings.length <= 1) continue;
    const fault = faultDuring(job, history.faults);
    const what = `${endings.length} endings in the record: ${endings.map(({ data }) => data.status).join(", ")}`;
    // A server or the network died between a node's acceptance and its caller's hearing of it: asked again, it ran twice.
    if (fault === undefined) bad(`${name}: ${what}`);
    else explain(`${what}, during: ${fault}`);
  }
  const canaries = new Map(history.jobs.map((job) => [job.job, job]));
  for (const { atMs, dataClass, job, note } of history.runs) {
    const known = canaries.get(job);
    if (note !== "began" || known === undefined || dataClass === "P2") continue;
    const meshJob = names.get(job);
    const storedMs = meshJob === undefined ? undefined : decidedAt.get(meshJob);
    if (storedMs === undefined) bad(`${known.way} job ${job} (${dataClass}): ran, and no decision is in the record`);
    else if (storedMs > atMs + CLOCK_MS)
      bad(`${known.way} job ${job} (${dataClass}): ran ${storedMs - atMs} ms before its decision was stored`);
  }
}

/** No class goes further than it may, whatever the record says. */
function checkRuns({ jobs, runs }: History, bad: (line: string) => void): void {
  const sent = new Map(jobs.map(({ dataClass, job }) => [job, dataClass]));
  for (const { dataClass, file, job, note } of runs) {
    if (note !== "began") continue;
    if (file.includes("cloud") && dataClass !== "P2") bad(`job ${job} (${dataClass}) ran in the cloud`);
    if (sent.get(job) !== dataClass) bad(`job ${job}: ran as ${dataClass}, sent as ${sent.get(job) ?? "nobody's"}`);
  }
}

/** @returns the most jobs that ran at once */
function checkCaps({ queueCap, runs, slots }: History, bad: (line: string) => void): number {
  for (const { file, running } of runs)
    if (running > slots) bad(`${file}: ${running} jobs at once, it has ${slots} slots`);
  const running = new Set<string>();
  const lastOf = new Map<string, string>();
  let most = 0;
  for (const { atMs, file, note, run } of runs.toSorted((a, b) => a.atMs - b.atMs)) {
    // A runtime that was killed wrote no end of what it ran: its next life's first word ends that.
    const life = run.split("-", 1)[0] ?? "";
    if (lastOf.get(file) !== life) for (const each of running) if (each.startsWith(`${file} `)) running.delete(each);
    lastOf.set(file, life);
    if (note === "began") running.add(`${file} ${run}`);
    else running.delete(`${file} ${run}`);
    if (running.size > queueCap && running.size > most)
      bad(`${running.size} jobs of the queue at once at ${new Date(atMs).toISOString()}, its cap is ${queueCap}`);
    most = Math.max(most, running.size);
  }
  return most;
}

/** The auditor's log is the stream: every event, once, in order. */
function checkLog({ acknowledged, log, signed, stream }: History, bad: (line: string) => void): void {
  for (const { auditor, problems } of signed)
    if (problems.length > 0) bad(`the signed log of ${auditor} does not verify: ${problems[0]}`);
  for (const { auditor, ids } of signed) {
    const entered = Map.groupBy(ids, (id) => id);
    const lost = acknowledged.filter((id) => !entered.has(id));
    if (lost.length > 0)
      bad(`${lost.length} events were acknowledged and are not in the log of ${auditor}: ${lost[0]}`);
    const twice = [...entered].filter(([id, all]) => id !== undefined && all.length > 1);
    if (twice.length > 0) bad(`${twice.length} events are in the log of ${auditor} twice: ${twice[0]?.[0]}`);
    // What the mesh recorded of its own end came after the segments were read.
    const other = log.findIndex(({ id }, i) => ids[i] !== id);
    if (other >= 0 || ids.length < log.length)
      bad(
        `the tiles of ${auditor} hold ${ids.length} entries, not the ${log.length} of the segments, from ${other} on`,
      );
  }
  const ids = new Set(stream.map(({ id }) => id));
  if (ids.size !== stream.length) bad(`${stream.length - ids.size} events are in the stream twice`);
  const logged = new Map(log.map((line) => [line.stream_sequence, line.id]));
  if (logged.size !== log.length) bad(`${log.length - logged.size} events are in the log twice`);
  const missing = stream.filter(({ id, streamSequence }) => logged.get(streamSequence) !== id);
  if (missing.length > 0)
    bad(`${missing.length} events of the stream are not in the log, the first at ${missing[0]?.streamSequence}`);
}
