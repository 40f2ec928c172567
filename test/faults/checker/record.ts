import { disturbed, type CallerJob, type History } from "../mesh/history.ts";
import type { StoredEvent } from "../world/audit-stream.ts";
import type { Rule } from "./index.ts";
import { wordsAstray } from "./callers.ts";
import { runsOf } from "./nodes.ts";

function endings(history: History, jobId: string): StoredEvent[] {
  return history.audit.filter(({ type, data }) => type === "job_ended" && data["job_id"] === jobId);
}

/** Everything that may cost a message or a process its memory, while a job was there. */
const LOSSES = ["crash", "stop", "cut", "stall", "pause", "forger", "clock", "audit", "policy"] as const;

function calm(history: History, job: CallerJob): boolean {
  return (
    !history.unanswered.has(job.id) &&
    !disturbed(history, job.startedAtMs - 1000, job.deadlineAtMs + 1000, { kinds: LOSSES })
  );
}

function told(job: CallerJob) {
  const [end] = job.frames.flatMap(({ frame }) => (frame.type === "end" ? [frame] : []));
  return end;
}

export const recordRules: readonly Rule[] = [
  {
    name: "P0 and P1 reach a node only after the record of that is durable",
    check: ({ arrivals }) =>
      arrivals
        .filter(({ subjectClass, recorded, forged }) => subjectClass !== "P2" && !recorded && !forged)
        .map(({ jobId, node, attempt }) => `${jobId}, attempt ${attempt}, reached ${node} unrecorded`),
  },
  {
    name: "no word of a job's content in the record",
    check: ({ audit }) =>
      audit.filter(({ text }) => /secret-|answer-/.test(text)).map(({ type, id }) => `${type} ${id} has content`),
  },
  {
    name: "an event is recorded once",
    check: ({ audit }) => {
      const seen = new Set<string>();
      return audit.flatMap(({ id, type }) => (seen.size === seen.add(id).size ? [`${type} ${id} twice`] : []));
    },
  },
  {
    name: "what a caller was told has finished is recorded as finished, once by that decision",
    check: (history) =>
      history.jobs.flatMap((job) => {
        const end = told(job);
        if (end?.status !== "finished" || job.idShared || history.unanswered.has(job.id)) return [];
        const same = endings(history, job.id).filter(({ data }) => data["decision_id"] === end.decision_id);
        const finished = same.filter(({ data }) => data["status"] === "finished");
        return finished.length === 1 ? [] : [`${job.id} is recorded as finished ${finished.length} times`];
      }),
  },
  {
    name: "without trouble a job runs once and has one ending in the record, the one its caller was told",
    check: (history) =>
      history.jobs.flatMap((job) => {
        const end = told(job);
        if (end === undefined || job.idShared || !calm(history, job) || job.callerLostAtMs !== undefined) return [];
        const recorded = endings(history, job.id).map(({ data }) => String(data["status"]));
        const runs = runsOf(history, job.prompt).length;
        const hedged = history.audit.some(({ type, data }) => type === "job_hedged" && data["job_id"] === job.id);
        if (runs > (hedged ? 2 : 1)) return [`${job.id} ran ${runs} times`];
        if (recorded.length > 1)
          return [`${job.id} has ${recorded.length} endings in the record: ${recorded.join(", ")}`];
        const [one] = recorded;
        return one === end.status || job.cancelledAtMs !== undefined || end.node_id === null
          ? []
          : [`${job.id} was told ${end.status} and is recorded as ${one}`];
      }),
  },
  {
    name: "a job that finished and that nobody cancelled is not recorded as cancelled",
    check: (history) =>
      history.jobs.flatMap((job) => {
        if (told(job)?.status !== "finished" || job.idShared || job.cancelledAtMs !== undefined) return [];
        const cancelled = endings(history, job.id).some(({ data }) => data["status"] === "cancelled");
        return cancelled ? [`${job.id} is`] : [];
      }),
  },
  {
    name: "no job is recorded as finished twice, unless the word of the first was lost or its caller asked again",
    check: (history) =>
      [...new Set(history.jobs.map(({ id }) => id))].flatMap((id) => {
        const jobs = history.jobs.filter((job) => job.id === id);
        const lost = (job: CallerJob) =>
          job.way === "client" ? !calm(history, job) : wordsAstray(history, job, ["stall", "crash", "cut"]);
        if (jobs.length > 1 || jobs.some(lost)) return [];
        const finished = endings(history, id).filter(({ data }) => data["status"] === "finished");
        return finished.length > 1 ? [`${id} finished ${finished.length} times`] : [];
      }),
  },
];
