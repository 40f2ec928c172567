import type { JsMsg } from "@nats-io/jetstream";
import type { Agree, AuditTree } from "./audit-tree.ts";
import type { SegmentLog } from "./segment-log.ts";

/** A checkpoint is signed when so many entries wait for it, or this long after the first of them came, milliseconds. */
const CHECKPOINT_ENTRIES = 1000;
const CHECKPOINT_MS = 1000;

/** Says when the tree needs a new checkpoint, and acknowledges messages to the stream when one covers them. */
export class Cover {
  readonly #log: SegmentLog;
  readonly #tree: AuditTree;
  readonly #wake: () => void;
  /** Messages up to which all is in the log, with the entry that this was. */
  #stored: { newest: JsMsg; sequence: number; canary: boolean }[] = [];
  readonly #onCanary: () => void;
  #timer: NodeJS.Timeout | undefined;
  // A session that broke may have left some; their messages are not sent again, because the log has them.
  #late = true;

  /**
   * @param wake called when a checkpoint has become due with time.
   * @param onCanary called when all before a canary is covered
   */
  constructor(log: SegmentLog, tree: AuditTree, wake: () => void, onCanary: () => void) {
    this.#onCanary = onCanary;
    this.#log = log;
    this.#tree = tree;
    this.#wake = wake;
  }

  get due(): boolean {
    return this.#tree.waiting > 0 ? this.#late || this.#tree.waiting >= CHECKPOINT_ENTRIES : this.#stored.length > 0;
  }

  /** All messages up to this one are in the log now. */
  add({ newest, canary }: { newest: JsMsg | undefined; canary: boolean }): void {
    if (newest !== undefined) this.#stored.push({ newest, sequence: this.#log.sequence, canary });
    this.#timer ??= setTimeout(() => {
      this.#late = true;
      this.#wake();
    }, CHECKPOINT_MS);
  }

  /** Signs the tree with all that is in the log. */
  async now(agree: Agree): Promise<void> {
    this.stop();
    // What comes meanwhile is not covered by this one.
    this.#late = false;
    await this.#tree.cover(agree);
    this.acknowledge(this.#tree.size);
  }

  /** Acknowledges what the first `size` entries have. */
  acknowledge(size: number): void {
    const covered = this.#stored.findLastIndex(({ sequence }) => sequence <= size);
    // The consumer acknowledges in order (AckPolicy.All): the last one stands for all before it.
    this.#stored[covered]?.newest.ack();
    if (this.#stored.slice(0, covered + 1).some(({ canary }) => canary)) this.#onCanary();
    this.#stored = this.#stored.slice(covered + 1);
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}
