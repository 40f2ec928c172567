import type { DataClass, JobRequestInput } from "../../../bus-schemas/index.ts";
import type { Chance } from "../world/chance.ts";
import type { World } from "../world/world.ts";
import type { Errand } from "./caller.ts";
import type { CallerJob } from "./history.ts";
import type { Plan } from "./plan.ts";

/** The ways in which a job may declare its class, and what it then is at its strictest. Worked out by hand. */
const DECLARATIONS: readonly { header?: DataClass; body?: string; strictest: DataClass }[] = [
  { strictest: "P0" },
  { body: "P0", strictest: "P0" },
  { header: "P0", strictest: "P0" },
  { header: "P2", body: "P0", strictest: "P0" },
  { header: "P0", body: "P2", strictest: "P0" },
  { header: "P1", body: "P0", strictest: "P0" },
  { body: "p0 ", strictest: "P0" },
  { header: "P1", strictest: "P1" },
  { body: "P1", strictest: "P1" },
  { header: "P2", body: "P1", strictest: "P1" },
  { header: "P2", body: "p1", strictest: "P0" },
  { body: "P2", strictest: "P2" },
  { body: "P2", strictest: "P2" },
  { header: "P2", strictest: "P2" },
  { header: "P2", body: "P2", strictest: "P2" },
  { header: "P2", body: "P2", strictest: "P2" },
];

/** What callers wait beyond their own deadline, milliseconds (client/job-stream.ts), and a little for the last step. */
const GRACE_MS = 600;
/** A request by hand goes on listening so long after its deadline, milliseconds: for an ending that comes late. */
const HAND_PATIENCE_MS = 16_000;

/** Makes up jobs. */
export class Workload {
  readonly #world: World;
  readonly #plan: Plan;
  readonly #chance: Chance;
  #last: CallerJob | undefined;
  #count = 0;

  constructor(world: World, plan: Plan) {
    this.#world = world;
    this.#plan = plan;
    this.#chance = world.chance.fork("workload");
  }

  /** When each job comes, milliseconds from the start of the active time, in order. */
  times(): number[] {
    const { activeMs, burst, jobs } = this.#plan;
    const momentMs = this.#chance.between(0, activeMs * 0.8);
    const one = () =>
      burst && this.#chance.yes(0.8) ? momentMs + this.#chance.between(0, 200) : this.#chance.between(0, activeMs);
    return Array.from({ length: jobs }, one).toSorted((a, b) => a - b);
  }

  errand(caller: string): Errand {
    const { byHand, cancels, sharedIds, maxBytes } = this.#plan;
    const chance = this.#chance;
    const declared = chance.pick(DECLARATIONS);
    const shared = chance.yes(sharedIds) ? this.#last : undefined;
    const timeoutMs = Math.round(chance.yes(0.5) ? chance.skewed(700, 8000) : chance.between(4000, 9000));
    const way = chance.yes(byHand) ? "by hand" : "client";
    const job = this.#job({
      id: shared?.id ?? `job-${String(this.#count).padStart(8, "0")}`,
      caller,
      way,
      stream: way === "client" || chance.yes(0.5),
      strictest: declared.strictest,
      timeoutMs,
    });
    if (shared !== undefined) shared.idShared = job.idShared = true;
    this.#last = job;
    const large = maxBytes < 100_000 && chance.yes(0.1);
    if (large) job.prompt += "x".repeat(chance.whole(maxBytes - 2000, maxBytes));
    const request: JobRequestInput = {
      job_id: job.id,
      prompt: job.prompt,
      timeout_ms: timeoutMs,
      ...(declared.body === undefined ? {} : { security_level: declared.body }),
      ...(chance.yes(0.3) ? { model: chance.pick(["tiny", "big"]) } : {}),
      ...(chance.yes(0.2) ? { session_id: `session-${chance.whole(1, 3)}` } : {}),
      ...(chance.yes(0.2) ? { deadline_unix_ms: Math.round(this.#world.wallMs + timeoutMs) } : {}),
    };
    return {
      job,
      request,
      options: { ...(declared.header === undefined ? {} : { dataClass: declared.header }), queue: "chat" },
      cancelAfterMs: chance.yes(cancels) ? chance.skewed(1, 2000) : undefined,
      readsSlowlyMs: chance.yes(0.1) ? chance.skewed(5, 200) : 0,
    };
  }

  /** A job that has every reason to finish. */
  fresh(caller: string, strictest: DataClass): Errand {
    const job = this.#job({
      id: `fresh-${strictest}-0001`,
      caller,
      way: "client",
      stream: true,
      strictest,
      timeoutMs: 8000,
    });
    job.fresh = true;
    const request = { job_id: job.id, prompt: job.prompt, timeout_ms: 8000, security_level: strictest };
    return { job, request, options: { queue: "chat" }, cancelAfterMs: undefined, readsSlowlyMs: 0 };
  }

  #job(about: Pick<CallerJob, "id" | "caller" | "way" | "stream" | "strictest"> & { timeoutMs: number }): CallerJob {
    const { timeoutMs, ...rest } = about;
    const nowMs = this.#world.nowMs;
    return {
      ...rest,
      // A job that its client seals is never on the bus in clear.
      prompt: `${about.way === "client" && about.strictest === "P0" ? "sealed" : "open"}-secret-${this.#count++} `,
      idShared: false,
      startedAtMs: nowMs,
      deadlineAtMs: nowMs + timeoutMs,
      endsByMs: nowMs + timeoutMs + (about.way === "client" ? GRACE_MS : HAND_PATIENCE_MS),
      frames: [],
      closedAtMs: undefined,
      threw: undefined,
      cancelledAtMs: undefined,
      callerLostAtMs: undefined,
      fresh: false,
    };
  }
}
