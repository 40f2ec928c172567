import type { Msg } from "@nats-io/nats-core";
import type { Decision, MeshError } from "../bus-schemas/index.ts";
import type { RouteRequest } from "./policy/types.ts";

/** A job this router has sent to a node and whose ending it has not seen. */
export interface Dispatch {
  jobId: string;
  /** The caller's message: its body is forwarded as it came, its reply subject is where the answer goes. */
  message: Msg;
  request: RouteRequest;
  decision: Decision;
  decisionId: string;
  traceparent: string | undefined;
  /** Node that has it now. */
  nodeId: string;
  model: string;
  /** From 1. */
  attempt: number;
  sentAtMs: number;
  cancelled: boolean;
  /** Its caller takes a stream. */
  stream: boolean;
  /** Its caller goes on by itself when the node is lost. */
  resumes: boolean;
  /** The last node that has accepted it, this one or one before. */
  acceptedBy?: string | undefined;
  /** When its node was last told that the job is its to tell of, by performance.now(). */
  goAheadAtMs?: number;
  /** Nodes that did not take it only because they were full: after a wait they may be asked again. */
  full?: readonly string[];
}

/**
 * The router's only memory of jobs: those waiting for a node's word (at most 250 ms each) and those running. Everything
 * here can be lost: a waiting job is submitted again by its client, a running one ends without the router.
 */
export class DispatchTable {
  /** Waiting for accepted or refused, in the order in which they were sent. */
  readonly #waiting = new Map<string, Dispatch>();
  readonly #running = new Map<string, Dispatch>();
  readonly #byJob = new Map<string, string>();
  /** Of a job that two nodes have at the same time (hedges.ts): the token before this one. */
  readonly #before = new Map<string, string>();
  readonly #byQueue = new Map<string, number>();
  /** Silent ones that were given up: their node may yet begin or have begun them, so they count for their queue. */
  readonly #abandoned = new Map<string, Dispatch>();
  /** Waiting ones that do not count for their queue. */
  readonly #notHeld = new Set<string>();
  /** Dispatches that their node has said nothing of, and how many those are at each node. */
  readonly #unanswered = new Set<string>();
  readonly #onTheWay = new Map<string, number>();
  #count = 0;

  get waitingCount(): number {
    return this.#waiting.size;
  }

  get runningCount(): number {
    return this.#running.size;
  }

  /** A token of a verdict subject, for a dispatch that is added later or never. */
  newToken(): string {
    return (this.#count++).toString(36);
  }

  /** Jobs of a task queue, waiting and running. */
  countOf(queue: string): number {
    return this.#byQueue.get(queue) ?? 0;
  }

  /** @param token a new one @returns the token of the verdict subject. */
  add(dispatch: Dispatch, token = this.newToken()): string {
    this.#counts(dispatch, 1);
    this.#unanswered.add(token);
    this.#onTheWay.set(dispatch.nodeId, this.onTheWay(dispatch.nodeId) + 1);
    this.#waiting.set(token, dispatch);
    const before = this.#byJob.get(dispatch.jobId);
    if (before !== undefined) this.#before.set(token, before);
    this.#byJob.set(dispatch.jobId, token);
    return token;
  }

  /** Jobs that a node's last word on its load cannot have in it. */
  onTheWay(nodeId: string): number {
    return this.#onTheWay.get(nodeId) ?? 0;
  }

  /** The node has said something of this dispatch: its word on its load has it in it. */
  answered(token: string): void {
    const dispatch = this.find(token);
    if (dispatch !== undefined && this.#unanswered.delete(token))
      this.#onTheWay.set(dispatch.nodeId, this.onTheWay(dispatch.nodeId) - 1);
  }

  waiting(token: string): Dispatch | undefined {
    return this.#waiting.get(token);
  }

  /** Waiting or running. */
  find(token: string): Dispatch | undefined {
    return this.#waiting.get(token) ?? this.#running.get(token);
  }

  findJob(jobId: string): Dispatch | undefined {
    const token = this.#byJob.get(jobId);
    return token === undefined ? undefined : this.find(token);
  }

  /** Takes out a job that still waits for its node's word, or with `running` wherever it is. */
  takeJob(jobId: string, running = false): Dispatch | undefined {
    const token = this.#byJob.get(jobId);
    return token === undefined || !(running || this.#waiting.has(token)) ? undefined : this.remove(token);
  }

  markRunning(token: string): Dispatch | undefined {
    const dispatch = this.#waiting.get(token);
    if (dispatch === undefined) return undefined;
    this.#waiting.delete(token);
    this.#running.set(token, dispatch);
    if (this.#notHeld.delete(token)) this.#counts(dispatch, 1);
    return dispatch;
  }

  remove(token: string): Dispatch | undefined {
    const dispatch = this.find(token);
    if (dispatch === undefined) return undefined;
    this.answered(token);
    this.#waiting.delete(token);
    this.#running.delete(token);
    if (!this.#notHeld.delete(token)) this.#counts(dispatch, -1);
    const before = this.#before.get(token) ?? "";
    this.#before.delete(token);
    if (this.#byJob.get(dispatch.jobId) === token) {
      if (this.find(before) === undefined) this.#byJob.delete(dispatch.jobId);
      else this.#byJob.set(dispatch.jobId, before);
    }
    return dispatch;
  }

  /** Takes out the jobs whose node has said nothing since `beforeMs`, oldest first; it may run them yet, so they count on. */
  takeSilent(beforeMs: number): Dispatch[] {
    return this.#takeWaiting(beforeMs, (token, dispatch) => {
      this.#abandoned.set(token, dispatch);
      this.#counts(dispatch, 1);
    });
  }

  /** Takes out what was given out before `beforeMs` and never came to its node. */
  takeUnused(beforeMs: number): Dispatch[] {
    return this.#takeWaiting(beforeMs, () => undefined);
  }

  /** From now on what was given out before `beforeMs` counts only when its node has it. */
  holdNoLonger(beforeMs: number): void {
    for (const [token, dispatch] of this.#waiting) {
      if (dispatch.sentAtMs >= beforeMs) break;
      if (this.#notHeld.has(token)) continue;
      this.#notHeld.add(token);
      this.#counts(dispatch, -1);
    }
  }

  #takeWaiting(beforeMs: number, onEach: (token: string, dispatch: Dispatch) => void): Dispatch[] {
    const taken: Dispatch[] = [];
    for (const [token, dispatch] of this.#waiting) {
      if (dispatch.sentAtMs >= beforeMs) break;
      this.remove(token);
      onEach(token, dispatch);
      taken.push(dispatch);
    }
    return taken;
  }

  /** A job that was given up as silent is over after all: its node says so, or is gone, or its time is over. */
  dropAbandoned(match: (dispatch: Dispatch, token: string) => boolean): void {
    for (const [token, dispatch] of this.#abandoned) {
      if (!match(dispatch, token)) continue;
      this.#abandoned.delete(token);
      this.#counts(dispatch, -1);
    }
  }

  #counts({ request: { taskType: queue } }: Dispatch, change: 1 | -1): void {
    this.#byQueue.set(queue, this.countOf(queue) + change);
  }

  /** Takes out the jobs of a node that is gone, those that it has not answered too. */
  takeOf(nodeId: string): { waiting: Dispatch[]; running: Dispatch[] } {
    const waiting: Dispatch[] = [];
    for (const [token, dispatch] of this.#waiting) {
      if (dispatch.nodeId !== nodeId) continue;
      this.remove(token);
      waiting.push(dispatch);
    }
    return { waiting, running: this.takeRunning((dispatch) => dispatch.nodeId === nodeId) };
  }

  /** Takes out the running jobs that `match`. */
  takeRunning(match: (dispatch: Dispatch) => boolean): Dispatch[] {
    const taken: Dispatch[] = [];
    for (const [token, dispatch] of this.#running) {
      if (!match(dispatch)) continue;
      this.remove(token);
      taken.push(dispatch);
    }
    return taken;
  }
}

/** The nodes that did not take a job because they were full, the last one among them. */
export function fullNodes({ full = [], nodeId }: Dispatch, error: MeshError): readonly string[] {
  return error.code === "all_busy" ? [...full, nodeId] : full;
}
