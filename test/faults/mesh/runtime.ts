import { MeshError, RuntimeRecord, ServedModel, type Layer } from "../../../bus-schemas/index.ts";
import type { RuntimeChunk, RuntimeJob, RuntimeState } from "../../../agent/runtimes/runtime.ts";
import type { RunHandlers, WorkThread } from "../../../agent/work/work-thread.ts";
import type { Chance } from "../world/chance.ts";
import type { Proc, World } from "../world/world.ts";
import type { History, Run } from "./history.ts";

/** How the runtimes of a mesh behave, as shares of their runs; the rest answers as it should. */
export interface RuntimeManners {
  fails: number;
  hangs: number;
  slow: number;
  /** The whole answer comes in one go. */
  bursts: number;
}

interface Place {
  node: string;
  layer: Layer;
  boot: number;
  slots: number;
  models: readonly string[];
  continues: boolean;
}

/** What a thread needs to hand a message over, at most, milliseconds. */
const HOP_MS = 1;

/** Stands in for the work thread with one runtime in it, which answers on virtual time and remembers all that it said. */
export class SimRuntime implements Pick<WorkThread, "run" | "cancel"> {
  readonly #world: World;
  readonly #proc: Proc;
  readonly #chance: Chance;
  readonly #place: Place;
  readonly #manners: RuntimeManners;
  readonly #history: History;
  readonly #running = new Map<number, { run: Run; handlers: RunHandlers }>();

  constructor(world: World, proc: Proc, place: Place, manners: RuntimeManners, history: History) {
    this.#world = world;
    this.#proc = proc;
    this.#chance = proc.chance.fork("runtime");
    this.#place = place;
    this.#manners = manners;
    this.#history = history;
  }

  get states(): RuntimeState[] {
    const { models, slots, continues } = this.#place;
    return [
      {
        record: RuntimeRecord.parse({ name: "sim", kind: "sim", slots, continues }),
        models: models.map((name) =>
          ServedModel.parse({
            name,
            runtime: "sim",
            loaded: true,
            context_length: 32_000,
            capabilities: ["text", "chat"],
          }),
        ),
      },
    ];
  }

  run(_runtime: string, job: RuntimeJob, handlers: RunHandlers): number {
    const { node, layer, boot, slots } = this.#place;
    const text = job.messages.map(({ content }) => (typeof content === "string" ? content : ""));
    const begun = job.continues ? (text.pop() ?? "") : "";
    const run: Run = {
      number: this.#history.runs.length,
      jobId: job.jobId,
      node,
      layer,
      boot,
      slots,
      prompt: text.join(""),
      begun,
      startedAtMs: this.#world.nowMs,
      said: [],
      doneAtMs: undefined,
      stoppedAtMs: undefined,
    };
    this.#history.runs.push(run);
    this.#running.set(run.number, { run, handlers });
    this.#world.note(`run ${run.number} of ${job.jobId} begins`);
    this.#script(run.number);
    return run.number;
  }

  cancel(id: number): void {
    const { run } = this.#running.get(id) ?? {};
    if (run === undefined) return;
    run.stoppedAtMs ??= this.#world.nowMs;
    this.#world.note(`run ${id} of ${run.jobId} is told to stop`);
    // The runtime notices later, and what it says until then is on its way.
    this.#later(this.#chance.between(0, HOP_MS), () => void this.#running.delete(id));
  }

  get busy(): boolean {
    return this.#running.size > 0;
  }

  /** The work thread crashed: its runs fail. */
  crash(): void {
    const lost = [...this.#running.values()];
    this.#running.clear();
    for (const { run, handlers } of lost) {
      run.stoppedAtMs ??= this.#world.nowMs;
      handlers.onFailed(new MeshError("runtime_failed", "the work thread crashed"));
    }
  }

  /** The node died: none of its runs goes on. */
  die(): void {
    for (const { run } of this.#running.values()) run.stoppedAtMs ??= this.#world.nowMs;
    this.#running.clear();
  }

  #script(id: number): void {
    const { fails, hangs, slow, bursts } = this.#manners;
    const chance = this.#chance;
    const pieces = Math.round(chance.skewed(1, 30));
    const lot = chance.next();
    const pace = lot < slow ? 40 : 1;
    const everyMs = chance.yes(bursts) ? 0 : chance.skewed(2, 200) * pace;
    const breaksAt = lot > 1 - hangs - fails ? chance.whole(0, pieces) : Infinity;
    const hung = lot > 1 - hangs;
    // Messages between two threads keep their order.
    let atMs = chance.skewed(5, 200) * pace + chance.between(0, HOP_MS);
    for (let i = 0; i < pieces && i < breaksAt; i++, atMs += everyMs) this.#later(atMs, () => this.#say(id, i));
    if (breaksAt === Infinity) this.#later(atMs, () => this.#done(id, pieces));
    else if (!hung) this.#later(atMs, () => this.#fail(id));
  }

  #say(id: number, piece: number): void {
    const { run, handlers } = this.#running.get(id) ?? {};
    const content = `answer-${id}.${piece} `;
    if (run?.stoppedAtMs === undefined) run?.said.push(content);
    handlers?.onChunk({ type: "delta", content });
  }

  #done(id: number, pieces: number): void {
    const { run, handlers } = this.#running.get(id) ?? {};
    if (run === undefined || handlers === undefined) return;
    this.#running.delete(id);
    if (run.stoppedAtMs === undefined) run.doneAtMs = this.#world.nowMs;
    this.#world.note(`run ${id} of ${run.jobId} is done`);
    const usage = { prompt_tokens: 5, completion_tokens: pieces, estimated: false };
    handlers.onChunk({ type: "done", finishReason: "stop", usage } satisfies RuntimeChunk);
  }

  #fail(id: number): void {
    const { run, handlers } = this.#running.get(id) ?? {};
    if (run === undefined || handlers === undefined) return;
    this.#running.delete(id);
    run.stoppedAtMs ??= this.#world.nowMs;
    handlers.onFailed(new MeshError("runtime_failed", "the runtime failed"));
  }

  /** A message of the work thread to the bus thread. */
  #later(afterMs: number, run: () => void): void {
    this.#world.at(this.#world.nowMs + afterMs, run, this.#proc);
  }
}
