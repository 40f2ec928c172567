import { disturbed, type History, type Run } from "../mesh/history.ts";
import { FORGED } from "../mesh/forger.ts";
import type { Rule } from "./index.ts";

/** Waiting jobs for each slot (agent/model/admission.ts, written down again). */
const QUEUE_PER_SLOT = 4;
/** From a cancel to the runtime, on a bus without trouble, milliseconds: two hops and a spike each. */
const CANCEL_MS = 1500;
/** A node ends what its caller no longer waits for at the deadline at the latest, milliseconds after the caller did. */
const ORPHAN_MS = 2000;

function endOf(run: Run): number {
  return Math.min(run.doneAtMs ?? Infinity, run.stoppedAtMs ?? Infinity);
}

/** The most at a time, where each item is there from one moment to another. */
function most(spans: readonly { fromMs: number; toMs: number }[]): number {
  const steps = spans.flatMap(({ fromMs, toMs }) => [
    { atMs: fromMs, by: 1 },
    { atMs: toMs, by: -1 },
  ]);
  // Of one moment the ends come first: a slot is filled again in the same turn.
  steps.sort((a, b) => a.atMs - b.atMs || a.by - b.by);
  let [now, peak] = [0, 0];
  for (const { by } of steps) peak = Math.max(peak, (now += by));
  return peak;
}

function byLife<T extends { node: string; boot: number }>(items: readonly T[]): Map<string, T[]> {
  return Map.groupBy(items, ({ node, boot }) => `${node}#${boot}`);
}

export const nodeRules: readonly Rule[] = [
  {
    name: "no run on a layer that its class forbids",
    check: ({ jobs, runs }) => {
      const strictest = new Map(jobs.map((job) => [job.prompt, job.strictest]));
      return runs.flatMap((run) => {
        const dataClass = run.prompt.startsWith(FORGED) ? run.prompt.trim().slice(-2) : strictest.get(run.prompt);
        if (dataClass === undefined) return [`run ${run.number} of ${run.jobId} is nobody's job: "${run.prompt}"`];
        return run.layer === "L2" && dataClass !== "P2" ? [`${run.jobId}, ${dataClass}, ran on ${run.node}, L2`] : [];
      });
    },
  },
  {
    name: "a job whose parts disagree about its class does not run",
    check: ({ runs }) =>
      runs
        .filter(({ prompt }) => prompt.startsWith(FORGED))
        .filter(({ layer }) => layer === "L2")
        .map((run) => `${run.jobId} ran on ${run.node}`),
  },
  {
    name: "a node never runs more than its slots",
    check: ({ runs }) =>
      [...byLife(runs)].flatMap(([life, own]) => {
        const peak = most(own.map((run) => ({ fromMs: run.startedAtMs, toMs: endOf(run) })));
        const slots = own[0]?.slots ?? 0;
        return peak > slots ? [`${life} ran ${peak} at a time with ${slots} slots`] : [];
      }),
  },
  {
    name: "a node never takes more than its slots and queue places",
    check: ({ words, runs, disturbances }) =>
      [...byLife(words)].flatMap(([life, own]) => {
        // What ends while the bus is away is told when it is back; its place is free before that.
        const away = disturbances.some(
          ({ kind, who }) => kind === "cut" && (who === "*" || life.startsWith(`${who}#`)),
        );
        if (away) return [];
        const slots = runs.find((run) => `${run.node}#${run.boot}` === life)?.slots;
        if (slots === undefined) return [];
        let [now, peak] = [0, 0];
        for (const { type } of own) {
          if (type === "accepted") now++;
          else if (type === "ended") now--;
          peak = Math.max(peak, now);
        }
        const places = slots * (1 + QUEUE_PER_SLOT);
        return peak > places ? [`${life} held ${peak} jobs with ${places} places`] : [];
      }),
  },
  {
    name: "an accepted job is ended once by its node",
    check: ({ words }) =>
      [...byLife(words)].flatMap(([life, own]) => {
        const open = new Map<string, number>();
        const wrong: string[] = [];
        for (const { type, jobId } of own) {
          if (type === "refused") continue;
          const count = (open.get(jobId) ?? 0) + (type === "accepted" ? 1 : -1);
          open.set(jobId, count);
          if (count < 0 || count > 1) wrong.push(`${life} ${type} ${jobId} twice`);
        }
        return wrong;
      }),
  },
  {
    name: "a cancelled job stops",
    check: (history) =>
      history.jobs.flatMap((job) => {
        const { cancelledAtMs } = job;
        // A node whose word came too late is none that its router cancels at.
        if (cancelledAtMs === undefined || history.unanswered.has(job.id)) return [];
        const limitMs = cancelledAtMs + CANCEL_MS;
        const trouble = disturbed(history, cancelledAtMs - 1000, limitMs, {
          kinds: ["crash", "stop", "cut", "stall", "pause", "forger"],
        });
        if (trouble) return [];
        return history.runs
          .filter((run) => run.prompt === job.prompt && run.startedAtMs < cancelledAtMs && endOf(run) > limitMs)
          .map((run) => `run ${run.number} of ${job.id} goes on after the cancel`);
      }),
  },
  {
    name: "no run goes on beyond its deadline",
    check: (history) => {
      const endsBy = new Map(history.jobs.map((job) => [job.prompt, job.endsByMs]));
      // Wall clocks that differ put a deadline off by as much; a paused node cannot stop anything.
      const clocks = history.disturbances.some(({ kind }) => kind === "clock") ? 20_000 : 12_000;
      return history.runs.flatMap((run) => {
        const limitMs = (endsBy.get(run.prompt) ?? Infinity) + ORPHAN_MS + clocks;
        return endOf(run) > limitMs && history.endedAtMs > limitMs
          ? [`run ${run.number} of ${run.jobId} goes on after the deadline`]
          : [];
      });
    },
  },
];

/** Used by the rules of the record, too. */
export function runsOf(history: History, prompt: string): Run[] {
  return history.runs.filter((run) => run.prompt === prompt);
}
