import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import {
  MeshError,
  type ControlRequest,
  type ModelProgress,
  type ReleaseFile,
  type UpgradeState,
} from "../../bus-schemas/index.ts";
import type { Bus } from "../../service/bus.ts";
import type { EventPublisher } from "../../service/events.ts";
import type { Log } from "../../service/log.ts";
import { pause } from "../../service/loop.ts";
import { checkStatement } from "../install/release-check.ts";
import { isOlder } from "../install/version-order.ts";
import { fetchArtefact } from "./fetch-artefact.ts";
import { isFinal, readOutcome, readWish, wishFiles, type UpgradeOutcome, type UpgradeWish } from "./files.ts";
import type { UpgradePlace } from "./place.ts";
import { UpgradeError, problemOf } from "./upgrade-error.ts";

export type UpgradeOrder = Extract<ControlRequest, { command: "upgrade" }>;
export type RollbackOrder = Extract<ControlRequest, { command: "rollback" }>;

export interface UpgraderParts {
  bus: Bus;
  nodeId: string;
  /** Of the program that runs. */
  version: string;
  /** @throws UpgradeError why this agent cannot be upgraded from here */
  place: () => UpgradePlace;
  /** Has root's part look at the wish, where a file alone does not do that. */
  wake: () => Promise<void>;
  events: EventPublisher;
  log: Log;
  signal: AbortSignal;
  /** How often root's word is looked for while it is awaited, milliseconds. */
  lookEveryMs?: number;
  /** Root's part has taken the wish up within this time, milliseconds. */
  takeUpLimitMs?: number;
}

const LOOK_EVERY_MS = 500;
const TAKE_UP_LIMIT_MS = 60_000;
/** An exchange has two starts at most, of `wait_seconds` each, and copies in between. Milliseconds. */
const EXCHANGE_SPARE_MS = 120_000;

/** The agent's part in its own upgrade: it fetches, checks, asks root's part, and tells what became of it. */
export class Upgrader {
  readonly #parts: UpgraderParts;
  /** While a file is on its way, or is there. */
  #fetch: Pick<UpgradeState, "phase" | "id" | "to" | "done_bytes" | "total_bytes"> | undefined;
  /** Why the last order of this life was not carried out. */
  #refused: UpgradeState | undefined;
  #following = false;

  constructor(parts: UpgraderParts) {
    this.#parts = parts;
  }

  get state(): UpgradeState {
    const { version } = this.#parts;
    const nothing = {
      action: null,
      id: null,
      to: null,
      done_bytes: null,
      total_bytes: null,
      problem: null,
      message: null,
    };
    const base = { ...nothing, version, at: null };
    if (this.#fetch !== undefined) return { ...base, action: "upgrade", ...this.#fetch };
    if (this.#refused !== undefined) return this.#refused;
    const place = this.#placeIfAny();
    const wish = place === undefined ? undefined : readWish(wishFiles(place.stateDir).wish);
    if (place === undefined || wish === undefined) return { ...base, phase: "idle" };
    const outcome = readOutcome(place.upgradeDir);
    const asked = { ...base, action: wish.action, id: wish.id, to: wish.version };
    if (outcome?.id !== wish.id) return { ...asked, phase: "handed_over" };
    const { phase, to, problem, message, at } = outcome;
    return { ...asked, phase, to, problem, message, at };
  }

  /** At the start: a wish of a former life that root has not answered, or whose answer is not on record. */
  start(): void {
    const place = this.#placeIfAny();
    if (place === undefined) return;
    const wish = readWish(wishFiles(place.stateDir).wish);
    if (wish === undefined || this.#isTold(place, wish.id)) return;
    // Its power may have gone before root's part saw it.
    if (readOutcome(place.upgradeDir)?.id !== wish.id) this.#write(place, wish);
    this.#follow(place, wish);
  }

  /**
   * Carries an order out as far as the agent can: to the wish, or with `check` and `fetch` less far.
   * @throws UpgradeError why not; nothing was changed
   */
  async upgrade(order: UpgradeOrder, onProgress: (progress: ModelProgress) => void): Promise<void> {
    await this.#orTold(order.id, "upgrade", order.version, async () => {
      const { place, file } = this.#check(order);
      if (order.mode === "check") return;
      const { bus, nodeId, signal } = this.#parts;
      const { folder } = wishFiles(place.stateDir);
      const told = { id: order.id, to: order.version, total_bytes: file.bytes };
      try {
        this.#fetch = { ...told, phase: "downloading", done_bytes: 0 };
        await fetchArtefact(
          { bus, nodeId, folder },
          file,
          (done) => {
            this.#fetch = { ...told, phase: "downloading", done_bytes: done };
            onProgress({ phase: "downloading", done_bytes: done, total_bytes: file.bytes });
          },
          signal,
        );
        this.#fetch = { ...told, phase: "verified", done_bytes: file.bytes };
        if (order.mode === "fetch") return;
        onProgress({ phase: "verifying", done_bytes: null, total_bytes: null });
      } catch (error) {
        this.#fetch = undefined;
        throw error;
      }
      const { sha256, signature } = file;
      await this.#ask(place, order, { action: "upgrade", version: order.version, sha256, signature });
    });
  }

  /** Asks root's part for the program before the last upgrade. @throws UpgradeError why not */
  async rollBack(order: RollbackOrder): Promise<void> {
    await this.#orTold(order.id, "rollback", null, async () => {
      const place = this.#parts.place();
      this.#checkFree(place);
      await this.#ask(place, order, { action: "rollback", version: null, sha256: null, signature: null });
    });
  }

  #check({ files, version }: UpgradeOrder): { place: UpgradePlace; file: ReleaseFile } {
    const place = this.#parts.place();
    this.#checkFree(place);
    const system = `${place.platform}-${place.arch}`;
    const file = files.find((each) => each.system === system);
    if (file === undefined) throw new UpgradeError("wrong_system", `release ${version} has no program for ${system}`);
    if (isOlder(version, this.#parts.version))
      throw new UpgradeError(
        "downgrade",
        `${version} is older than ${this.#parts.version}, which runs; only \`rollback\` goes back`,
      );
    let signed: ReturnType<typeof checkStatement>;
    try {
      signed = checkStatement(file.signature, place.releaseKey, place);
    } catch (cause) {
      throw new UpgradeError("bad_signature", cause instanceof MeshError ? cause.message : "it is not signed", cause);
    }
    if (signed.sha256 !== file.sha256 || signed.bytes !== file.bytes || signed.version !== version)
      throw new UpgradeError("bad_signature", "the signature is of another program than the order names");
    return { place, file };
  }

  #checkFree(place: UpgradePlace): void {
    const wish = readWish(wishFiles(place.stateDir).wish);
    const outcome = readOutcome(place.upgradeDir);
    const underWay = wish !== undefined && this.#following && (outcome?.id !== wish.id || !isFinal(outcome));
    if (underWay || this.#fetch?.phase === "downloading")
      throw new UpgradeError("busy", "an upgrade of this machine is under way already");
  }

  async #ask(
    place: UpgradePlace,
    { id, wait_seconds, by }: Pick<UpgradeOrder, "id" | "wait_seconds" | "by">,
    what: Pick<UpgradeWish, "action" | "version" | "sha256" | "signature">,
  ): Promise<void> {
    const wish: UpgradeWish = { v: 1, id, from: this.#parts.version, wait_seconds, by: by ?? null, ...what };
    this.#write(place, wish);
    this.#fetch = undefined;
    await this.#parts.wake();
    this.#follow(place, wish);
  }

  #write(place: UpgradePlace, wish: UpgradeWish): void {
    const files = wishFiles(place.stateDir);
    mkdirSync(files.wishFolder, { recursive: true, mode: 0o700 });
    writeFileSync(`${files.wish}.new`, JSON.stringify(wish), { mode: 0o600 });
    renameSync(`${files.wish}.new`, files.wish);
  }

  #follow(place: UpgradePlace, wish: UpgradeWish): void {
    this.#following = true;
    void this.#untilItEnds(place, wish)
      .catch((error: unknown) => {
        if (!this.#parts.signal.aborted) this.#parts.log.warn({ err: error }, "an upgrade cannot be followed");
      })
      .finally(() => (this.#following = false));
  }

  /** The outcome goes on record once, by whichever life of the agent sees it. */
  async #untilItEnds(place: UpgradePlace, wish: UpgradeWish): Promise<void> {
    const { lookEveryMs = LOOK_EVERY_MS, takeUpLimitMs = TAKE_UP_LIMIT_MS, signal } = this.#parts;
    const startMs = performance.now();
    const limitMs = takeUpLimitMs + 2 * wish.wait_seconds * 1000 + EXCHANGE_SPARE_MS;
    while (!signal.aborted) {
      const outcome = readOutcome(place.upgradeDir);
      const ours = outcome?.id === wish.id ? outcome : undefined;
      if (ours !== undefined && isFinal(ours)) return this.#record(place, wish, ours);
      const tookMs = performance.now() - startMs;
      if (tookMs > (ours === undefined ? takeUpLimitMs : limitMs)) return this.#giveUp(place, wish);
      await pause(lookEveryMs, signal);
    }
  }

  #giveUp(place: UpgradePlace, wish: UpgradeWish): void {
    // Whoever takes it up later must not find it.
    rmSync(wishFiles(place.stateDir).wish, { force: true });
    const message = "nobody on the machine has carried it out: is its upgrade unit enabled? (tiermesh-agent install)";
    this.#refused = {
      ...this.state,
      phase: "failed",
      action: wish.action,
      id: wish.id,
      problem: "not_taken_up",
      message,
    };
    this.#tell(wish, { phase: "failed", problem: "not_taken_up", to: wish.version });
  }

  #record(place: UpgradePlace, wish: UpgradeWish, outcome: UpgradeOutcome): void {
    const files = wishFiles(place.stateDir);
    if (wish.sha256 !== null) rmSync(files.artefact(wish.sha256), { force: true });
    if (this.#isTold(place, wish.id)) return;
    this.#tell(wish, outcome);
    writeFileSync(files.told, JSON.stringify({ id: wish.id }), { mode: 0o600 });
  }

  #tell(wish: UpgradeWish, { phase, problem, to }: Pick<UpgradeOutcome, "phase" | "problem" | "to">): void {
    if (phase === "switching") return;
    const { events, log, nodeId } = this.#parts;
    const { action, by, from, sha256 } = wish;
    log.info({ action, outcome: phase, from, to, problem }, "an upgrade has ended");
    events.record("node_upgraded", {
      node_id: nodeId,
      action,
      outcome: phase,
      from,
      to,
      sha256,
      problem,
      ...(by === null ? {} : { by }),
    });
  }

  #isTold(place: UpgradePlace, id: string): boolean {
    try {
      return (JSON.parse(readFileSync(wishFiles(place.stateDir).told, "utf8")) as { id: unknown }).id === id;
    } catch {
      return false;
    }
  }

  #placeIfAny(): UpgradePlace | undefined {
    try {
      return this.#parts.place();
    } catch {
      return undefined;
    }
  }

  /** What went wrong is in the state, too, for programs. */
  async #orTold(
    id: string,
    action: "upgrade" | "rollback",
    to: string | null,
    work: () => Promise<void>,
  ): Promise<void> {
    try {
      this.#refused = undefined;
      await work();
    } catch (error) {
      const message = error instanceof MeshError ? error.message.slice(0, 500) : null;
      const problem = problemOf(error);
      if (problem !== "busy") this.#refused = { ...this.state, phase: "failed", action, id, to, problem, message };
      throw error;
    }
  }
}
