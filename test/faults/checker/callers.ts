import { disturbed, type CallerJob, type History, type Run } from "../mesh/history.ts";
import type { Rule } from "./index.ts";

/** A pause or a slow step of the caller's own puts its ending off, milliseconds. */
const STEP_MS = 50;

/** After its deadline a job whose node is lost may have to wait so long until a router notices, milliseconds. */
const LOST_MS = 4000;

/** A word from a router to a node and a frame back take so long at most, milliseconds. */
const UNDER_WAY_MS = 300;

const HANDLED_BY_ROUTER = ["crash", "stop", "cut", "stall", "pause"] as const;

function ends(job: CallerJob) {
  return job.frames.flatMap(({ frame, atMs }) => (frame.type === "end" ? [{ ...frame, atMs }] : []));
}

/**
 * What the caller got of the answer, as docs/queues.md tells everyone to read it: up to the first end, and anew from where a node
 * says that it has accepted the job.
 */
function contentOf({ frames, stream, way }: CallerJob): string {
  let content = "";
  for (const { frame } of frames) {
    if (frame.type === "accepted" && way === "by hand") content = "";
    else if (frame.type === "delta") content += frame.content ?? "";
    else if (frame.type === "end") return stream ? content : (frame.message?.content ?? "");
  }
  return content;
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

/** Who asks by hand has no eye for the frames' numbers: what is lost on the way it does not miss. */
function gaps(history: History, job: CallerJob): boolean {
  return job.way === "by hand" && (job.idShared || wordsAstray(history, job, ["cut", "crash"]));
}

/** Words of nodes to the caller or to a router may have been lost or held up on the way. */
export function wordsAstray(history: History, job: CallerJob, kinds: readonly ("cut" | "stall" | "crash")[]): boolean {
  const who = (name: string) => !name.startsWith("caller") || name === job.caller;
  return disturbed(history, job.startedAtMs - 1000, job.endsByMs + LOST_MS, { kinds, who });
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
        // What was said before the router gave the node up may still be under way, when the node is dead or cut off.
        if (statuses.length === 0 || job.idShared || wordsAstray(history, job, ["stall", "crash", "cut"])) return [];
        if (statuses.length > 1) return [`${job.id} has ${statuses.length} endings: ${statuses.join(", ")}`];
        // Its router ended it, and the word of that was still on its way to the node.
        const endedAtMs = ends(job)[0]?.atMs ?? 0;
        return (job.frames.at(-1)?.atMs ?? 0) - endedAtMs < UNDER_WAY_MS ? [] : [`${job.id} goes on after its end`];
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
        if (!ends(job).some(({ status }) => status === "finished") || gaps(history, job)) return [];
        const content = contentOf(job);
        const own = ownRuns(history, job).some((run) => run.doneAtMs !== undefined && textOf(run) === content);
        return own ? [] : [`${job.id} got "${content}", which no run of it said`];
      }),
  },
  {
    name: "an unfinished answer is the beginning of what one run of that very job said",
    check: (history) =>
      history.jobs.flatMap((job) => {
        if (!job.stream || contentOf(job) === "" || gaps(history, job)) return [];
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
        // A runtime may still fail or hang as its manners are; of a hung one the caller says that it has waited in vain.
        if (!job.fresh || end?.status === "finished" || history.unanswered.has(job.id)) return [];
        const code = end?.error?.code;
        const ranAndFailed = code === "runtime_failed" || code === "deadline_exceeded";
        return ranAndFailed ? [] : [`${job.id}: ${end?.status} ${code} ${end?.error?.message}`];
      }),
  },
];
