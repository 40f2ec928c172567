import type { SealKey } from "../../bus-schemas/index.ts";
import { kidOf, newNodeKey, publicText, type NodeKeyPair } from "../../service/sealing/index.ts";

/** A key that was replaced still opens what was sealed to it for this long: tickets and heartbeats under way, milliseconds. */
const KEEP_MS = 2 * 60_000;

interface Held {
  keys: NodeKeyPair;
  announced: SealKey;
}

/** This node's keys for sealed jobs: in memory only, so what was sealed to a replaced key or a former start stays sealed. */
export class NodeKeys {
  readonly #everyMs: number;
  readonly #nowMs: () => number;
  readonly #onNew: (key: SealKey, previous: SealKey | undefined) => void;
  readonly #byKid = new Map<string, Held>();
  #newest: { held: Held; madeAtMs: number } | undefined;

  /**
   * @param nowMs wall clock
   * @param onNew told each key that is announced from now on, and the one before
   */
  constructor(
    everyMs: number,
    nowMs: () => number = Date.now,
    onNew: (key: SealKey, previous: SealKey | undefined) => void = () => undefined,
  ) {
    this.#everyMs = everyMs;
    this.#nowMs = nowMs;
    this.#onNew = onNew;
  }

  /** For the heartbeat: the key to seal to. */
  get announced(): SealKey[] {
    return this.#newest === undefined ? [] : [this.#newest.held.announced];
  }

  find(kid: string): NodeKeyPair | undefined {
    const held = this.#byKid.get(kid);
    return held === undefined || held.announced.not_after_unix_ms < this.#nowMs() ? undefined : held.keys;
  }

  /** Makes a new key when there is none or its time is over, and forgets those past theirs. Call it now and then. */
  async rotate(): Promise<void> {
    const nowMs = this.#nowMs();
    for (const [kid, { announced }] of this.#byKid) if (announced.not_after_unix_ms < nowMs) this.#byKid.delete(kid);
    const ageMs = this.#newest === undefined ? Infinity : nowMs - this.#newest.madeAtMs;
    // A clock that was set back makes a key look older than it is, never younger than new.
    if (ageMs >= 0 && ageMs < this.#everyMs) return;
    const keys = await newNodeKey();
    const publicKey = publicText(keys);
    const kid = kidOf(publicKey);
    const announced = { kid, public_key: publicKey, not_after_unix_ms: nowMs + this.#everyMs + KEEP_MS };
    this.#byKid.set(kid, { keys, announced });
    const previous = this.#newest?.held.announced;
    this.#newest = { held: { keys, announced }, madeAtMs: nowMs };
    this.#onNew(announced, previous);
  }
}
