import { headers as newHeaders, type Msg } from "@nats-io/nats-core";
import { CONTENT_TYPES, HEADERS, type CancelRequest, type MeshError } from "../../bus-schemas/index.ts";
import type { StreamPort } from "../../client/attempt.ts";
import { decode, encode } from "../../service/codec.ts";
import { headersFor } from "../../service/messages.ts";

interface Submitted {
  subject: string;
  reply: string;
  headers: ReturnType<typeof headersFor>;
  data: Uint8Array;
  body: Record<string, unknown>;
}

/** A bus seen from the stream: what it submits and cancels, in order; a test plays router and agent on its inboxes. */
export class FakePort implements StreamPort {
  readonly submits: Submitted[] = [];
  /** `submit 1`, `cancel`, `supersede`, … in the order in which they were published. */
  readonly log: string[] = [];
  readonly inboxes = new Map<string, (msg: Msg) => void>();
  refuse: MeshError | undefined;
  away = false;
  onSubmit: (submit: Submitted) => void = () => undefined;

  publish: StreamPort["publish"] = (subject, body, options) => {
    if (this.refuse !== undefined) throw this.refuse;
    if (subject.startsWith("cancel.")) {
      this.log.push(body.length === 0 ? "cancel" : cancelled(decode(body as Uint8Array, undefined) as CancelRequest));
      return;
    }
    const headers = options?.headers ?? newHeaders();
    const type = headers.get(HEADERS.contentType);
    const submit = {
      subject,
      reply: options?.reply ?? "",
      headers,
      data: body as Uint8Array,
      body: type === CONTENT_TYPES.sealed ? {} : (decode(body as Uint8Array, type) as Submitted["body"]),
    };
    this.submits.push(submit);
    this.log.push(`${/^route$|^sealed/.exec(subject)?.[0] ?? "submit"} ${this.submits.length}`);
    this.onSubmit(submit);
  };
  openInbox: StreamPort["openInbox"] = (onMessage) => {
    const subject = `inbox.${this.inboxes.size}`;
    this.inboxes.set(subject, onMessage);
    return { subject, close: () => void this.inboxes.set(subject, () => undefined) };
  };
  readonly routeSubject = "route";
  readonly cellPrefix = "mesh.main";
  sealedSubject = (dataClass: string, node: string) => `sealed.${dataClass}.${node}`;
  submitSubject = (queue: string) => `submit.${queue}`;
  cancelSubject = (job: string) => `cancel.${job}`;
  connected = () => !this.away;
  nowMs = () => Date.now();

  /** Delivers frames to the inbox of a submit (by default the newest), numbered from `seq`; null = without number. */
  say(frames: readonly object[], seq: number | null = 0, inbox = this.submits.at(-1)?.reply ?? ""): void {
    for (const [i, frame] of frames.entries()) {
      const headers = headersFor("json");
      if (seq !== null) headers.set(HEADERS.seq, String(seq + i));
      this.raw(encode(frame, "json"), headers, inbox);
    }
  }

  raw(data: Uint8Array, headers = headersFor("json"), inbox = this.submits.at(-1)?.reply ?? ""): void {
    this.inboxes.get(inbox)?.({ data, headers } as Msg);
  }

  noResponders(): void {
    this.raw(new Uint8Array(), newHeaders(503, "No Responders"));
  }
}

function cancelled({ superseded, node_id: node, gave_up: gaveUp }: CancelRequest): string {
  if (gaveUp) return "give up";
  return superseded ? `supersede${node === undefined ? "" : ` ${node}`}` : "cancel";
}
