import type { Grant } from "./permissions.ts";
import type { Subjects } from "./subjects.ts";

/** Callers may ask for their durable jobs, whose ids nobody else knows, and take them back. */
export function callsDurable(s: Subjects): Grant[] {
  return [
    { subject: s.status, why: "what became of a durable job whose id it knows" },
    { subject: s.withdraw, why: "takes back a durable job whose id it knows" },
  ];
}

/** Operators speak to the desk; what is in the streams they see by it only. */
export function operatesQueues(s: Subjects): Grant[] {
  return [{ subject: s.desk("*"), why: "queues and dead letters" }];
}

/** The keeper makes the streams of durable jobs and reads none of them. */
export function makesJobStreams(s: Subjects): Grant[] {
  return Object.values(s.jobStreams).flatMap((stream) =>
    ["CREATE", "UPDATE", "INFO"].map((verb) => ({
      subject: `$JS.API.STREAM.${verb}.${stream}`,
      why: "makes the streams",
    })),
  );
}

/** What a router hears of callers and operators about durable jobs. */
export function hearsQueues(s: Subjects): Grant[] {
  return [
    { subject: s.status, why: "callers of durable jobs" },
    { subject: s.withdraw, why: "callers of durable jobs" },
    { subject: s.desks, why: "queues and dead letters" },
  ];
}

/**
 * Routers alone touch durable jobs: they make the consumers of the queues (a queue is a name of the policy, which the keeper
 * does not follow) and delete none, look through states and letters by short-lived ones, and make, change and delete no stream.
 */
export function runsQueues(s: Subjects): Grant[] {
  const { work, states, results, letters } = s.jobStreams;
  const grant = (subject: string, why: string): Grant => ({ subject, why });
  const consumers = (stream: string, why: string) =>
    [
      `$JS.API.CONSUMER.CREATE.${stream}.>`,
      `$JS.API.CONSUMER.INFO.${stream}.*`,
      `$JS.API.CONSUMER.MSG.NEXT.${stream}.*`,
    ].map((subject) => grant(subject, why));
  return [
    grant(s.work("*", "*"), "durable jobs"),
    grant(s.jobState("*"), "states of durable jobs"),
    grant(s.jobResult("*", "*"), "results of durable jobs"),
    grant(s.letter("*", "*"), "dead letters"),
    ...consumers(work, "the queues"),
    ...[states, letters].flatMap((stream) => [
      ...consumers(stream, "lists for operators"),
      grant(`$JS.API.CONSUMER.DELETE.${stream}.*`, "lists for operators"),
    ]),
    grant(`$JS.ACK.${work}.>`, "durable jobs that have ended, or still run"),
    ...[work, states, results, letters].map((stream) => grant(`$JS.API.STREAM.MSG.GET.${stream}`, "single jobs")),
    ...[work, letters].map((stream) => grant(`$JS.API.STREAM.MSG.DELETE.${stream}`, "jobs that were taken back")),
  ];
}
