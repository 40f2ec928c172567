import type { Msg } from "@nats-io/nats-core";
import {
  HEADERS,
  MeshError,
  Verdict,
  type GoAhead,
  type Heard,
  lastToken,
  verdictNode,
  verdictRouter,
} from "../bus-schemas/index.ts";
import { header, readBody, respond } from "../service/messages.ts";
import { learnFromPeer } from "../service/structures-exchange.ts";
import type { Dispatch } from "./dispatch-table.ts";
import type { RouterParts } from "./parts.ts";

/** Of a dispatch, what a node's word on it is checked by. */
type Asked = Pick<Dispatch, "nodeId" | "jobId">;

/** What a part of the router does with the words of nodes that were spoken to it. */
export interface VerdictListener<D extends Asked = Dispatch> {
  /** The dispatch of that token that is waiting or running, if there is one. */
  find(token: string): D | undefined;
  /** The node that was asked has said something of it; its load is taken next. */
  answered?(token: string): void;
  /** A word of the node that was asked; its load is taken already. @param reply where the node listens for an answer, or "" */
  onVerdict(verdict: Verdict, dispatch: D, token: string, reply: string): void;
  /** The node has ended or refused a dispatch that is not known any more. */
  onLate?(token: string): void;
  /** A node asks whether the dispatch, which stands, is its to tell of. */
  mayTell?(dispatch: D): boolean;
  /** It was told that it is. */
  onGoAhead?(dispatch: D): void;
  /** The broker says that nobody listens where that dispatch went. */
  onNobody?(token: string): void;
}

/**
 * The nodes' words on jobs. One subscription hears all of them (ADR 0004): those to a name of this router's go to its listener, of
 * the others the load is believed, until the node's own next word.
 */
export class Verdicts {
  readonly #parts: Pick<RouterParts, "bus" | "fleet" | "rejections">;
  readonly #listeners = new Map<string, VerdictListener<Asked>>();
  #onHeard: (mine: boolean) => void = () => undefined;
  #onOther: (verdict: Verdict, router: string, token: string) => void = () => undefined;

  constructor(parts: Pick<RouterParts, "bus" | "fleet" | "rejections">) {
    this.#parts = parts;
  }

  start(): void {
    const { bus } = this.#parts;
    bus.listen(bus.subjects.verdicts, (msg) => {
      const listener = this.#listeners.get(verdictRouter(msg.subject));
      if (listener === undefined) this.#toOther(msg);
      else this.#toUs(msg, listener);
    });
  }

  /** @param router a name of this router: verdicts are spoken to it */
  hear<D extends Asked = Dispatch>(router: string, listener: VerdictListener<D>): void {
    this.#listeners.set(router, listener);
  }

  /**
   * @param onHeard a node has said how busy it is; `mine`: to us, so that a place that came free there was ours
   * @param onOther the word was to another router
   */
  watch(onHeard: (mine: boolean) => void, onOther: (verdict: Verdict, router: string, token: string) => void): void {
    this.#onHeard = onHeard;
    this.#onOther = onOther;
  }

  #toUs(msg: Msg, listener: VerdictListener<Asked>): void {
    const token = lastToken(msg.subject);
    const { fleet, rejections } = this.#parts;
    if (msg.headers?.code === 503 && msg.data.length === 0) return listener.onNobody?.(token);
    const verdict = this.#read(msg, (error) => rejections.add("verdict", error));
    if (verdict?.type === "ended") respond(msg, { heard: true, take: false } satisfies Heard);
    const dispatch = verdict === undefined ? undefined : listener.find(token);
    if (verdict !== undefined && dispatch === undefined && verdict.type !== "accepted") listener.onLate?.(token);
    if (verdict === undefined || dispatch === undefined) return goAhead(msg, verdict, false);
    // The broker guards the subject, not the body; another node cannot take, refuse or end its job.
    const said = verdict.node_id === verdictNode(msg.subject) ? verdict.node_id : undefined;
    if (said !== dispatch.nodeId || verdict.job_id !== dispatch.jobId) {
      const field = said === dispatch.nodeId ? "job_id" : "node_id";
      goAhead(msg, verdict, false);
      return rejections.add("verdict", new MeshError("forbidden", `${field}: not what was asked`, { field }));
    }
    listener.answered?.(token);
    fleet.onLoad(dispatch.nodeId, verdict.load);
    listener.onVerdict(verdict, dispatch, token, msg.reply ?? "");
    if (verdict.type === "accepted" && msg.reply !== undefined && msg.reply !== "") {
      const go = listener.find(token) !== undefined && (listener.mayTell?.(dispatch) ?? true);
      goAhead(msg, verdict, go);
      if (go) listener.onGoAhead?.(dispatch);
    }
    this.#onHeard(true);
  }

  /** A bad one is its router's to reject, as is the broker's 503. */
  #toOther(msg: Msg): void {
    const verdict = this.#read(msg, () => undefined);
    if (verdict === undefined || verdict.node_id !== verdictNode(msg.subject)) return;
    this.#parts.fleet.onLoad(verdict.node_id, verdict.load);
    this.#onOther(verdict, verdictRouter(msg.subject), lastToken(msg.subject));
    this.#onHeard(false);
  }

  #read(msg: Msg, onRejected: (error: MeshError) => void): Verdict | undefined {
    try {
      return readBody(msg, Verdict);
    } catch (error) {
      const rejection = MeshError.from(error);
      if (rejection.code === "codec_unknown") void learnFromPeer(this.#parts.bus, header(msg, HEADERS.contentType));
      onRejected(rejection);
      return undefined;
    }
  }
}

/** Tells a node that has accepted a job whether it is still its own; one that does not ask is not told. */
function goAhead(msg: Msg, verdict: Verdict | undefined, go: boolean): void {
  if (verdict?.type === "accepted") respond(msg, { go } satisfies GoAhead);
}
