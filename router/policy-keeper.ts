/**
 * Keeps a router's policy the one on the bus.
 * 1. The newest good revision in the bucket counts, for every router (service/policy-in-force.ts).
 * 2. The router's own file fills an empty bucket, once, and stands in while the bucket cannot be reached.
 * 3. A policy that is in use stays until a good one replaces it: nothing on the bus can take it away.
 */
import { basename } from "node:path";
import type { EventPublisher } from "../service/events.ts";
import type { Log } from "../service/log.ts";
import { startLoop, type Loop } from "../service/loop.ts";
import type { PolicyBucket } from "../service/policy-bucket.ts";
import { policyInForce, type BadPolicy, type GoodPolicy } from "../service/policy-in-force.ts";
import { policyName, textSha256, type RoutingText } from "../service/routing-config.ts";
import { MAX_POLICY_TEXT, MeshError } from "../bus-schemas/index.ts";
import { compilePolicy } from "./policy/policy.ts";
import type { Policy } from "./policy/types.ts";

/** How often the bucket is looked at, milliseconds: a new revision is in use everywhere within a second. */
const LOOK_EVERY_MS = 400;

type Bucket = Pick<PolicyBucket, "state" | "newestFirst" | "put">;

export interface KeeperParts {
  routerId: string;
  /** Opens the bucket; called again after it failed. */
  open: () => Promise<Bucket>;
  file: RoutingText & { path: string };
  events: Pick<EventPublisher, "record">;
  log: Log;
}

export class PolicyKeeper {
  readonly #parts: KeeperParts;
  #policy: Policy;
  /** The text of `#policy`. */
  #text: string;
  /** Who put it there, and why. */
  #author: Pick<GoodPolicy["revision"], "by" | "note">;
  #bucket: Bucket | undefined;
  /** State of the bucket when it was last read. */
  #seen: string | undefined;
  readonly #told = new Set<string>();
  #reachable: boolean | undefined;
  #started = false;

  constructor(parts: KeeperParts) {
    this.#parts = parts;
    const { text, config, path } = parts.file;
    this.#policy = compilePolicy(config, policyName(basename(path), text), textSha256(text));
    this.#text = text;
    this.#author = { by: parts.routerId, note: `from ${basename(path)}` };
  }

  /** The policy to decide by now. */
  get policy(): Policy {
    return this.#policy;
  }

  /** Takes up the bus's policy, or says that it decides by its file until it can. */
  async start(): Promise<void> {
    await this.#lookSafely();
    this.#started = true;
    this.#recordChange(null);
  }

  /** Follows the bus's policy until `signal` aborts. */
  follow(signal: AbortSignal): Loop {
    const { log } = this.#parts;
    const onError = (error: unknown) => log.error({ err: error }, "looking for a new policy failed");
    return startLoop({ name: "policy", everyMs: LOOK_EVERY_MS, onError }, () => this.#lookSafely(), signal);
  }

  async #lookSafely(): Promise<void> {
    try {
      await this.look();
      this.#reachable = true;
    } catch (error) {
      if (this.#reachable !== false) this.#sayUnreachable(error);
      this.#reachable = false;
      this.#bucket = undefined;
    }
  }

  #sayUnreachable(error: unknown): void {
    const { log } = this.#parts;
    const why = `the policy bucket cannot be reached; deciding by ${this.#policy.revision} until it can`;
    if (this.#started) log.warn({ err: error }, why);
    else log.warn({ err: error }, `${why}: the file may not be what the other routers use`);
  }

  /** Looks at the bucket once. @throws what the bus says */
  async look(): Promise<void> {
    this.#bucket ??= await this.#parts.open();
    const state = await this.#bucket.state();
    if (state === undefined) return this.#fill(this.#bucket);
    if (state === this.#seen) return;
    const { good, bad } = await policyInForce(this.#bucket);
    if (good === undefined && bad.length === 0) return this.#fill(this.#bucket);
    if (good !== undefined && good.name !== this.#policy.revision) this.#take(good);
    for (const each of bad.toReversed()) this.#reject(each);
    this.#seen = state;
  }

  /** Nobody has put a policy there yet, or the bus has lost it: what this router decides by goes there. */
  async #fill(bucket: Bucket): Promise<void> {
    const { file, log, routerId } = this.#parts;
    const lost = this.#seen !== undefined;
    const note = lost ? "put back after the bucket was lost" : `first policy, from ${basename(file.path)}`;
    try {
      const revision = await bucket.put(this.#text, { by: routerId, note, after: 0 });
      log[lost ? "warn" : "info"]({ revision }, lost ? "the policy bucket was empty; the policy is put back" : note);
    } catch (error) {
      if (!(error instanceof MeshError && error.code === "conflict")) throw error;
      // Another router was first; its policy is read at the next look.
    }
    await this.look();
  }

  #take(good: GoodPolicy): void {
    const { file, log } = this.#parts;
    const previous = this.#policy.revision;
    this.#policy = compilePolicy(good.config, good.name, textSha256(good.text));
    this.#text = good.text;
    const { by, note, revision } = good.revision;
    this.#author = { by, note };
    log.info({ policy: good.name, previous, by }, "policy taken from the bus");
    if (this.#seen === undefined && good.text !== file.text) {
      log.warn(
        `${file.path} differs from policy revision ${revision} on the bus, which counts; ` +
          `see \`tiermesh policy diff ${file.path}\`, make the file count by \`tiermesh policy apply ${file.path}\``,
      );
    }
    if (this.#started) this.#recordChange(previous);
  }

  /** With the text: decisions are replayed by it, long after the bucket has forgotten it. */
  #recordChange(previous: string | null): void {
    const { revision: name, textSha256: sha256 } = this.#policy;
    const { by, note } = this.#author;
    // Counted as it is sent: JSON doubles what it escapes.
    const whole = Buffer.byteLength(JSON.stringify(this.#text)) <= MAX_POLICY_TEXT;
    if (!whole)
      this.#parts.log.warn({ policy: name }, "the policy is too large for its event; keep its file for replays");
    const data = {
      policy_revision: name,
      previous_revision: previous,
      by,
      note: note ?? null,
      text_sha256: sha256,
      text: whole ? this.#text : null,
    };
    this.#record(() => this.#parts.events.record("policy_changed", data));
  }

  #reject({ name, reason }: BadPolicy): void {
    if (this.#told.has(name)) return;
    this.#told.add(name);
    const kept = this.#policy.revision;
    this.#parts.log.error(
      { policy: name, reason, kept },
      "a policy revision on the bus is no good; the last good one stays",
    );
    const data = { policy_revision: name, kept_revision: kept, reason };
    this.#record(() => this.#parts.events.record("policy_rejected", data));
  }

  /** The policy counts even when its event cannot be kept: every decision names it. */
  #record(record: () => unknown): void {
    try {
      record();
    } catch (error) {
      this.#parts.log.warn({ err: error }, "an event about the policy was not recorded");
    }
  }
}
