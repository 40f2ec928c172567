import { disturbed, type CallerJob, type History, type Run } from "../mesh/history.ts";
import type { StoredEvent } from "../world/audit-stream.ts";
import type { Rule } from "./index.ts";

/** A pause or a slow step of the caller's own puts its ending off, milliseconds. */
const STEP_MS = 50;

/** After its deadline a job whose node is lost may have to wait so long until a router notices, milliseconds. */
const LOST_MS = 4000;

const HANDLED_BY_ROUTER = ["crash", "stop", "cut", "stall", "pause"] as const;

function ends(job: CallerJob) {
  return job.frames.flatMap(({ frame, atMs }) => (frame.type === "end" ? [{ ...frame, atMs }] : []));
}

/** What the caller got of the answer, whole. */
function contentOf({ frames, stream }: CallerJob): string {
  if (!stream) return frames.map(({ frame }) => (frame.type === "end" ? (frame.message?.content ?? "") : "")).join("");
  return frames.map(({ frame }) => (frame.type === "delta" ? (frame.content ?? "") : "")).join("");
}

/** What a caller has by a run: what it was given to go on with, and what it said. */
function textOf({ begun, said }: Run): string {
  return begun + said.join("");
}

/** Runs of a job that began its answer, or went on exactly where another run of it had left the caller. */
function ownRuns({ runs }: History, { id, prompt }: CallerJob): Run[] {
  const own = runs.filter((run) => run.jobId === id && run.prompt === prompt);
  const before = ({ number, begun }: Run): boolean =>
    begun === "" || own.some((run) => run.number < number && before(run) && textOf(run).startsWith(begun));
  return own.filter(before);
}

/** A caller whose own connection, and whose mesh, had no trouble while its job was there. */
function calm(history: History, job: CallerJob): boolean {
  const router = { kinds: HANDLED_BY_ROUTER, who: (name: string) => name.startsWith("router") || name === job.caller };
  // What a node says while its connection is away is lost, as core NATS loses it.
  const node = { kinds: ["cut", "stall", "pause", "stop"] as const, who: (name: string) => name.startsWith("node") };
  const forger = { kinds: ["forger"] as const };
  return ![router, node, forger].some((what) =>
    disturbed(history, job.startedAtMs - 1000, job.deadlineAtMs + LOST_MS, what),
  );
}

/** Whether somebody else may run the job beside the one that was asked: it was too slow to say so in time. */
function excused({ audit, unanswered }: History, job: CallerJob): boolean {
  return unanswered.has(job.id) || job.idShared || audit.some((event) => saysLost(event, job.id));
}

/** A router took the node for lost, which was only paused or cut off, and may wake up with the job. */
function saysLost({ type, data }: StoredEvent, jobId: string): boolean {
  const { code } = (data["error"] ?? {}) as { code?: string };
  return type === "job_ended" && data["job_id"] === jobId && code === "node_lost";
}

/** Who asks by hand has one inbox for all that come, and no eye for their numbers: it sees no gap, and mixes two answers. */
function mixes(history: History, job: CallerJob): boolean {
  return job.way === "by hand" && (excused(history, job) || !calm(history, job));
}

export const callerRules: readonly Rule[] = [
  {
    name: "one ending for each job of a client, and nothing after it",
    check: ({ jobs }) =>
      jobs.flatMap((job) => {
        if (job.way !== "client" || job.callerLostAtMs !== undefined) return [];
        const count = ends(job).length;
        if (job.threw !== undefined) return [`${job.id} threw ${job.threw}`];
        if (count !== 1) return [`${job.id} has ${count} endings`];
        return job.frames.at(-1)?.frame.type === "end" ? [] : [`${job.id} goes on after its end`];
      }),
  },
  {
    name: "at most one ending for a request by hand, and nothing after it",
    check: (history) =>
      history.jobs.flatMap((job) => {
        if (job.way !== "by hand") return [];
        const statuses = ends(job).map(({ status }) => status);
        if (statuses.length === 0 || excused(history, job)) return [];
        if (statuses.length > 1) return [`${job.id} has ${statuses.length} endings: ${statuses.join(", ")}`];
        if (job.frames.at(-1)?.frame.type === "end") return [];
        return [`${job.id} goes on after its end`];
      }),
  },
  {
    name: "a request by hand has its ending when nobody but nodes crashed",
    check: (history) =>
      history.jobs.flatMap((job) => {
        if (job.way !== "by hand" || job.idShared || job.callerLostAtMs !== undefined || job.threw !== undefined)
          return [];
        if (ends(job).length > 0 || !calm(history, job)) return [];
        return [`${job.id} has none`];
      }),
  },
  {
    name: "no job hangs beyond its deadline",
    check: (history) =>
      history.jobs.flatMap((job) => {
        if (job.way !== "client" || job.callerLostAtMs !== undefined) return [];
        const closedAtMs = job.closedAtMs ?? Infinity;
        const pausedMs = history.disturbances
          .filter(({ kind, who, atMs }) => ["pause", "clock"].includes(kind) && who === job.caller && atMs < closedAtMs)
          .reduce((sum, { kind, atMs, untilMs }) => sum + (kind === "clock" ? 16_000 : untilMs - atMs), 0);
        const slow = job.frames.length * 210;
        const late = closedAtMs - job.endsByMs - pausedMs - STEP_MS - slow;
        return late > 0 ? [`${job.id} ends ${late.toFixed(0)} ms late`] : [];
      }),
  },
  {
    name: "a finished answer is what one run of that very job said",
    check: (history) =>
      history.jobs.flatMap((job) => {
        if (!ends(job).some(({ status }) => status === "finished") || mixes(history, job)) return [];
        const content = contentOf(job);
        const own = ownRuns(history, job).some((run) => run.doneAtMs !== undefined && textOf(run) === content);
        return own ? [] : [`${job.id} got "${content}", which no run of it said`];
      }),
  },
  {
    name: "an unfinished answer is the beginning of what one run of that very job said",
    check: (history) =>
      history.jobs.flatMap((job) => {
        if (!job.stream || contentOf(job) === "" || mixes(history, job)) return [];
        const content = contentOf(job);
        const own = ownRuns(history, job).some((run) => textOf(run).startsWith(content));
        return own ? [] : [`${job.id} got "${content}", with which no run of it begins`];
      }),
  },
  {
    name: "a fresh job finishes after the healing",
    check: (history) =>
      history.jobs.flatMap((job) => {
        const [end] = ends(job);
        // A runtime may still fail or hang as its manners are.
        if (!job.fresh || end?.status === "finished" || excused(history, job)) return [];
        const code = end?.error?.code;
        const ranAndFailed = code === "runtime_failed" || code === "deadline_exceeded";
        return ranAndFailed ? [] : [`${job.id}: ${end?.status} ${code} ${end?.error?.message}`];
      }),
  },
];
