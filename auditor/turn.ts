/**
 * Whose turn it is to take the log further (ADR 0027). The auditors agree on each head of the tree before it is signed, by
 * compare and set in one register: who is not the last to have written there cannot write, however long it was frozen,
 * cut off or slow. So all that was ever signed is one chain.
 * 1. The writer puts each head there, and the same one again while nothing comes.
 * 2. The standby keeps a log of its own from the same stream, and signs only heads that it finds in the register.
 * 3. When the register has not changed for a while, the standby puts itself there, with a head that has the last one in it.
 */
import { MeshError, type AuditorName, type LogHead } from "../bus-schemas/index.ts";
import type { AgreedHead } from "../service/head-register.ts";
import type { AuditTree } from "./audit-tree.ts";
import type { TreeHead } from "./tlog/checkpoint.ts";

/** A writer that has not been heard of for so long has lost its turn, milliseconds. */
export const TURN_MS = 5000;
/** The writer says so often that it is there, milliseconds. */
const RENEW_MS = 1500;

/** In the holder's place: the writer stopped in order. */
const NOBODY = "-";

/** Another auditor has the turn now: this one follows from here on. */
export class TurnLost extends Error {}

/** Who an auditor is to the others. */
export interface AuditorIdentity {
  auditor: AuditorName;
  /** Of its folder. */
  holder: string;
}

/** What is needed of the register. */
export interface Register {
  read(): Promise<AgreedHead | undefined>;
  put(head: LogHead, after: number): Promise<number>;
}

export class Turn {
  readonly #register: Register;
  readonly #tree: AuditTree;
  readonly #me: AuditorIdentity;
  readonly #nowMs: () => number;
  #writer = false;
  #revision = -1;
  /** When the register was last seen to change, or written. */
  #changedAtMs = 0;
  #known: LogHead | undefined;

  /** @param nowMs a clock that never jumps */
  constructor(register: Register, tree: AuditTree, me: AuditorIdentity, nowMs = () => performance.now()) {
    this.#register = register;
    this.#tree = tree;
    this.#me = me;
    this.#nowMs = nowMs;
  }

  get isWriter(): boolean {
    return this.#writer;
  }

  /** Who writes; undefined while nobody ever did. */
  get writer(): AuditorName | undefined {
    return this.#known?.auditor;
  }

  /** Entries that the auditors have agreed on, whether they are here or not. */
  get agreedSize(): number {
    return this.otherLog === undefined ? (this.#known?.size ?? 0) : 0;
  }

  /** The log that the others have agreed on, when it is not the one here. */
  get otherLog(): string | undefined {
    const origin = this.#known?.origin;
    return origin === this.#tree.origin ? undefined : origin;
  }

  /**
   * Looks at the register and does what is due: takes over agreed heads, says that the writer is there, takes the turn.
   * @returns the head that this auditor took the turn from, if it was another one's
   * @throws MeshError `conflict` when the log here is not the one that was agreed on; TurnLost; the bus's errors
   */
  async tend(): Promise<LogHead | undefined> {
    if (this.#writer) {
      const due = this.#nowMs() - this.#changedAtMs >= RENEW_MS;
      if (due && this.#known !== undefined) await this.#put(this.#known);
      return undefined;
    }
    const { revision, head } = (await this.#register.read()) ?? { revision: 0, head: undefined };
    if (revision !== this.#revision) {
      this.#revision = revision;
      this.#changedAtMs = this.#nowMs();
      this.#known = head;
    }
    // Another log is not followed; when its writer is gone, the first auditor begins its own.
    const isFollowed = head === undefined || this.otherLog !== undefined || (await this.#tree.follow(treeHead(head)));
    if (!isFollowed || !this.#mayTake(head)) return undefined;
    try {
      await this.#put(this.#mine(this.#tree.head));
    } catch (error) {
      // The other one was there after all, or came first.
      if (error instanceof MeshError) return undefined;
      throw error;
    }
    this.#writer = true;
    return head === undefined || (head.auditor === this.#me.auditor && head.origin === this.#tree.origin)
      ? undefined
      : head;
  }

  /** Agrees on a head with the other auditor. @throws MeshError `conflict` when the turn was lost; the bus's errors */
  readonly agree = async (head: TreeHead): Promise<void> => {
    if (!this.#writer) throw new MeshError("conflict", "it is not this auditor's turn");
    await this.#put(this.#mine(head));
  };

  /** Gives the turn to whoever comes first. @throws the bus's errors */
  async release(): Promise<void> {
    if (this.#writer && this.#known !== undefined) await this.#put({ ...this.#known, holder: NOBODY });
    this.#writer = false;
  }

  #mayTake(head: LogHead | undefined): boolean {
    const { auditor, holder } = this.#me;
    if (this.otherLog !== undefined && auditor !== "auditor") return false;
    const free = head === undefined ? auditor === "auditor" : [holder, NOBODY].includes(head.holder);
    return free || this.#nowMs() - this.#changedAtMs >= TURN_MS;
  }

  #mine({ size, root }: TreeHead): LogHead {
    return { v: 1, ...this.#me, origin: this.#tree.origin, size, root: Buffer.from(root).toString("base64") };
  }

  async #put(head: LogHead): Promise<void> {
    try {
      this.#revision = await this.#register.put(head, Math.max(0, this.#revision));
    } catch (error) {
      // Whether it came there is not known: nothing is signed before the register was read again.
      const had = this.#writer;
      this.#writer = false;
      if (had && error instanceof MeshError) throw new TurnLost(error.message, { cause: error });
      throw error;
    }
    this.#known = head;
    this.#changedAtMs = this.#nowMs();
  }
}

function treeHead({ size, root }: LogHead): TreeHead {
  return { size, root: Buffer.from(root, "base64") };
}
