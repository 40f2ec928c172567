import type { NodeRecord } from "../../bus-schemas/index.ts";
import type { SeenNode } from "../../client/index.ts";

/** Jobs that ended, and those of them that went wrong. */
export interface JobCounts {
  ended: number;
  failed: number;
}

/** What was usual before an upgrade. */
export interface JobsBefore {
  /** As callers see them: failed, out of time, or refused although they could have been taken. */
  jobs: JobCounts;
  /** As nodes did with them: also those that a router then gave to another node. */
  onNodes: JobCounts;
}

/** Fewer failures than this say nothing. */
const FAILURES_THAT_COUNT = 3;
/** A share of failures may be so much above the one before. */
const WORSE_BY = 0.1;
/** So large a share of the nodes that served before, and were not touched, may go by themselves: laptops do. */
const MAY_GO = 0.1;

/** Why jobs fare worse than before, for people; undefined when they do not. */
export function jobsGotWorse(before: JobCounts, since: JobCounts): string | undefined {
  if (since.failed < FAILURES_THAT_COUNT) return undefined;
  const [was, is] = [share(before), share(since)];
  if (is <= was + WORSE_BY) return undefined;
  return `${since.failed} of ${since.ended} jobs failed since then, ${percent(is)} against ${percent(was)} before`;
}

function share({ ended, failed }: JobCounts): number {
  return ended === 0 ? 0 : failed / ended;
}

function percent(value: number): string {
  return `${Math.round(value * 100)} %`;
}

/** What of a node has to be again as it was. */
export interface NodeLook {
  state: SeenNode["state"];
  status: NodeRecord["status"];
  /** Names of the runtimes that are well. */
  runtimes: string[];
  sickGpus: number;
  gpus: number;
}

export function lookAt({ record, state }: SeenNode): NodeLook {
  return {
    state,
    status: record.status,
    // The diagnostic one goes by itself when there is another.
    runtimes: record.runtimes.filter(({ diagnostic, healthy }) => healthy && !diagnostic).map(({ name }) => name),
    sickGpus: record.hardware.gpus.filter(({ sick }) => sick !== null).length,
    gpus: record.hardware.gpus.length,
  };
}

const GONE: readonly SeenNode["state"][] = ["lost", "disconnected"];

/** What of a node is worse than before, for people; undefined when nothing is. */
export function gotWorse(before: NodeLook, now: NodeLook | undefined): string | undefined {
  if (now?.state === "left") return "it has left the mesh";
  if (now === undefined || GONE.includes(now.state)) return `it is ${now?.state ?? "lost"}`;
  if (now.status === "degraded" && before.status !== "degraded") return "it is degraded";
  const missing = before.runtimes.filter((name) => !now.runtimes.includes(name));
  if (missing.length > 0) return `${missing.join(", ")} ${missing.length === 1 ? "is" : "are"} not well`;
  if (now.sickGpus > before.sickGpus) return "a GPU is sick";
  return now.gpus < before.gpus ? `${before.gpus - now.gpus} of ${before.gpus} GPUs are gone` : undefined;
}

/** Why the rest of the fleet is worse off than before; undefined when it is not. */
export function fleetGotWorse(
  before: ReadonlyMap<string, NodeLook>,
  now: ReadonlyMap<string, NodeLook>,
  touched: ReadonlySet<string>,
): string | undefined {
  const others = [...before].filter(([id, { status }]) => !touched.has(id) && status === "healthy");
  const worse = others.filter(([id]) => {
    const seen = now.get(id);
    return seen === undefined || seen.state === "lost" || seen.state === "disconnected" || seen.status === "degraded";
  });
  if (worse.length <= Math.max(1, others.length * MAY_GO)) return undefined;
  return `${worse.length} of ${others.length} other nodes are lost or degraded: ${worse
    .slice(0, 5)
    .map(([id]) => id)
    .join(", ")}`;
}
