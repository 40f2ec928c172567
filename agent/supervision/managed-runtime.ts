import { MeshError } from "../../bus-schemas/index.ts";
import type { Log } from "../../service/log.ts";
import { pause } from "../../service/loop.ts";
import { BackOff } from "./back-off.ts";
import type { Means } from "./means.ts";
import type { ManagedRuntime as Settings } from "./settings.ts";

/** Pauses before a restart, milliseconds. A run of ten minutes was a good one: most models are loaded long before. */
const RESTART_MS = { first: 1000, limit: 300_000, goodRun: 600_000 };

/** Why a runtime was restarted: its process ended, it did not answer, or an operator said so. */
export type RestartCause = "exit" | "silence" | "operator";

/** What the record is told. */
export type SupervisionEvent =
  | { type: "restarted"; cause: RestartCause; attempt: number; reason: string | null }
  | { type: "given_up"; attempts: number; reason: string | null };

export interface ManagedRuntimeParts {
  name: string;
  settings: Pick<Settings, "start_seconds" | "silent_seconds" | "give_up_after">;
  means: Means;
  /** A command has to be started once; a unit is systemd's to start. */
  startsIt: boolean;
  tell: (event: SupervisionEvent) => void;
  log: Log;
  /** Monotonic, milliseconds. */
  nowMs: () => number;
  signal: AbortSignal;
}

/** What an inspection says that began before a restart and ends after it is about the run before, milliseconds. */
const SETTLE_MS = 2000;

/** `waiting`: for the pause before a restart to end. `restarting`: it is being stopped and started. */
type State = "running" | "waiting" | "restarting" | "given_up";

/**
 * Keeps one runtime answering: told after each inspection whether it answers (`heard`), and of its end (`ended`), it restarts it with
 * a growing pause, and gives up after so many restarts that helped for less than ten minutes. It acts on what is seen only, never on
 * silence of the inspections themselves.
 */
export class ManagedRuntime {
  readonly #parts: ManagedRuntimeParts;
  readonly #backOff = new BackOff(RESTART_MS);
  #state: State = "running";
  /** The run that is under way: since when, and whether it has answered. */
  #startedAtMs: number;
  #answered = false;
  #silentSinceMs: number | undefined;
  #lookedAt = false;
  /** It ended while it was being started. */
  #endedEarly: string | undefined;
  /** Operators who wait until it answers. */
  #waiting: PromiseWithResolvers<void>[] = [];
  /** Aborts when the pause before a restart, and that restart, are not wanted any more. */
  #pausing = new AbortController();

  constructor(parts: ManagedRuntimeParts) {
    this.#parts = parts;
    this.#startedAtMs = parts.nowMs();
  }

  /** An inspection of its port is over. */
  heard(answers: boolean): void {
    const { settings, startsIt, nowMs } = this.#parts;
    const first = !this.#lookedAt;
    this.#lookedAt = true;
    if (first && startsIt && !answers) return this.#begin(undefined, null);
    if (this.#state === "restarting" || (!first && nowMs() - this.#startedAtMs < SETTLE_MS)) return;
    if (answers) return this.#onAnswer();
    this.#silentSinceMs ??= nowMs();
    if (this.#state !== "running") return;
    const limitMs = 1000 * (this.#answered ? settings.silent_seconds : settings.start_seconds);
    const sinceMs = this.#answered ? this.#silentSinceMs : this.#startedAtMs;
    if (nowMs() - sinceMs >= limitMs) this.#begin("silence", null);
  }

  /** Its process ended by itself. */
  ended(how: string): void {
    if (this.#state === "restarting") this.#endedEarly = how;
    else if (this.#state === "running") this.#begin("exit", how);
  }

  /**
   * An operator's word: restarts it now, also one that was given up.
   * @returns when it answers again
   * @throws MeshError `runtime_failed` when it cannot be started, or does not answer within its time; `conflict` while it is being
   * restarted
   */
  async restart(reason: string | null): Promise<void> {
    const { name, settings, signal } = this.#parts;
    if (this.#state === "restarting")
      throw new MeshError("conflict", `${name} is being restarted just now`, { field: "runtime" });
    this.#pausing.abort();
    this.#backOff.reset();
    const answer = Promise.withResolvers<void>();
    // It may fail before anybody waits for it.
    answer.promise.catch(() => undefined);
    this.#waiting.push(answer);
    await this.#restart("operator", reason, 1);
    const limit = AbortSignal.any([signal, AbortSignal.timeout(settings.start_seconds * 1000)]);
    const late = `${name} was restarted and has not answered within ${settings.start_seconds} s`;
    const onLimit = () => answer.reject(new MeshError("runtime_failed", late));
    limit.addEventListener("abort", onLimit, { once: true });
    await answer.promise.finally(() => limit.removeEventListener("abort", onLimit));
  }

  #onAnswer(): void {
    const { log, name } = this.#parts;
    this.#answered = true;
    this.#silentSinceMs = undefined;
    if (this.#state === "given_up") {
      log.info({ runtime: name }, "a runtime that was given up answers again");
      this.#backOff.reset();
    }
    // Somebody else was first: it needs no restart any more.
    this.#pausing.abort();
    this.#state = "running";
    for (const { resolve } of this.#waiting.splice(0)) resolve();
  }

  /** @param cause undefined = its first start, which waits for nothing */
  #begin(cause: RestartCause | undefined, reason: string | null): void {
    this.#state = "waiting";
    const pausing = new AbortController();
    this.#pausing = pausing;
    void this.#again(cause, reason, AbortSignal.any([pausing.signal, this.#parts.signal]));
  }

  /** Never throws. */
  async #again(cause: RestartCause | undefined, reason: string | null, stop: AbortSignal): Promise<void> {
    const { log, name, nowMs, settings, tell } = this.#parts;
    const ranMs = this.#answered ? nowMs() - this.#startedAtMs : 0;
    let [why, now] = [reason, cause === undefined];
    for (let afterMs = ranMs; ; afterMs = 0) {
      const waitMs = now ? 0 : this.#backOff.ended(afterMs);
      now = false;
      if (this.#backOff.failures > settings.give_up_after) {
        this.#state = "given_up";
        log.error({ runtime: name, attempts: settings.give_up_after }, "a runtime is given up");
        tell({ type: "given_up", attempts: settings.give_up_after, reason: why });
        for (const { reject } of this.#waiting.splice(0))
          reject(new MeshError("runtime_failed", `${name} was given up after ${settings.give_up_after} restarts`));
        return;
      }
      await pause(waitMs, stop);
      if (stop.aborted) return;
      try {
        return await this.#restart(cause, why, this.#backOff.failures);
      } catch (error) {
        why = MeshError.from(error).message.slice(0, 200);
        if (stop.aborted) return;
        log.warn({ runtime: name, err: error }, "a runtime could not be started");
        this.#state = "waiting";
      }
    }
  }

  /** @throws what the means say */
  async #restart(cause: RestartCause | undefined, reason: string | null, attempt: number): Promise<void> {
    const { log, means, name, nowMs, signal, tell } = this.#parts;
    this.#state = "restarting";
    this.#endedEarly = undefined;
    try {
      await means.restart(signal);
    } finally {
      this.#state = "running";
      this.#startedAtMs = nowMs();
      this.#answered = false;
      this.#silentSinceMs = undefined;
    }
    if (signal.aborted) return;
    log.info({ runtime: name, cause, attempt }, `started: ${means.description}`);
    if (cause !== undefined) tell({ type: "restarted", cause, attempt, reason });
    if (this.#endedEarly !== undefined) this.#begin("exit", this.#endedEarly);
  }
}
