import { reads } from "./permissions-parts.ts";
import type { Grant } from "./permissions.ts";
import type { Subjects } from "./subjects.ts";

/** Whoever runs machines brings releases and takes them away, and holds the lock while the fleet is upgraded (ADR 0030). */
export function publishesReleases(s: Subjects): Grant[] {
  const why = "releases of the agent";
  return [
    { subject: s.release("*"), why },
    { subject: s.releaseChunk("*", "*"), why },
    { subject: s.upgradeLock, why: "one upgrade of the fleet at a time" },
    ...reads(s.releaseStream, why),
    { subject: `$JS.API.STREAM.PURGE.${s.releaseStream}`, why },
  ];
}
