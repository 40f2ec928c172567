import { asksAuditors, asksTheLog, saysExports } from "./permissions-audit.ts";
import { operatesQueues } from "./permissions-durable.ts";
import { reads } from "./permissions-parts.ts";
import { publishesReleases } from "./permissions-release.ts";
import type { Grant } from "./permissions.ts";
import type { Subjects } from "./subjects.ts";

/**
 * The three duties that one person may have (`operator`) or three (SEED: separate system administrator, security officer and
 * auditor; GB/T 22239, 三员分立): none of the three can do what another one is there for.
 */

/** Runs machines, models and queues, and brings machines to another version of the agent. */
export function administers(s: Subjects): Grant[] {
  return [
    { subject: s.control("*"), why: "cordon, drain, resume, models, runtimes" },
    { subject: s.wake, why: "wakes a machine" },
    ...operatesQueues(s),
    { subject: s.qualityBucket.keys, why: "quality of models" },
    ...reads(s.sleepBucket.stream, "machines that sleep"),
    ...publishesReleases(s),
  ];
}

/** Says what may run where, and who may join. */
export function guards(s: Subjects): Grant[] {
  const requests = [s.registryAdd, s.registryRevoke, s.registryInvite, s.registryDecide];
  return [
    ...requests.map((subject) => ({ subject, why: "who may join" })),
    { subject: s.policyBucket.key, why: "the policy" },
  ];
}

/** Reads the record, and says who else may read events. */
export function inspects(s: Subjects): Grant[] {
  return [
    ...asksTheLog(s, "the log"),
    saysExports(s),
    ...reads(s.auditStream, "events that happened"),
    ...asksAuditors(s),
    { subject: s.registryReader, why: "who may read events" },
  ];
}

/** What each of the three sees: the policy, the nodes, what tools ask. */
export function looks(s: Subjects): Grant[] {
  return [
    { subject: s.registryList, why: "who may join" },
    ...reads(s.policyBucket.stream, "the policy"),
    ...reads(s.qualityBucket.stream, "quality of models"),
    { subject: "$JS.API.INFO", why: "tools ask whether there is JetStream" },
    { subject: "$SRV.>", why: "nats micro" },
  ];
}
