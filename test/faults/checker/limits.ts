import type { Rule } from "./index.ts";

/**
 * What DESIGN promises and the mesh does not hold yet, so that it is counted and not judged (docs/reliability.md): a node that is
 * only slow runs a job beside the node that was asked next. `--strict` judges it.
 */
export const LIMITS: readonly Rule[] = [
  {
    name: "a job runs to its end once, however slow its node or router is",
    check: ({ jobs, runs }) =>
      jobs.flatMap((job) => {
        const whole = runs.filter(({ prompt, doneAtMs }) => prompt === job.prompt && doneAtMs !== undefined);
        return whole.length > 1 ? [`${job.id} ran to its end on ${whole.map(({ node }) => node).join(" and ")}`] : [];
      }),
  },
  {
    name: "a request by hand hears one ending, however slow its node or router is",
    check: ({ jobs }) =>
      jobs.flatMap((job) => {
        const ends = job.frames.filter(({ frame }) => frame.type === "end");
        return job.way === "by hand" && ends.length > 1 ? [`${job.id} hears ${ends.length}`] : [];
      }),
  },
  {
    name: "a job is recorded as finished once, however slow its node or router is",
    check: ({ jobs, audit }) =>
      jobs.flatMap(({ id, idShared }) => {
        const finished = audit.filter(
          ({ type, data }) => type === "job_ended" && data["job_id"] === id && data["status"] === "finished",
        );
        return finished.length > 1 && !idShared ? [`${id} is recorded as finished ${finished.length} times`] : [];
      }),
  },
];
