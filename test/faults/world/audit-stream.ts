import { HEADERS, parseEventSubject } from "../../../bus-schemas/index.ts";
import type { Message } from "./broker.ts";
import type { World } from "./world.ts";

/** An event as the AUDIT stream keeps it. */
export interface StoredEvent {
  id: string;
  type: string;
  dataClass: string;
  /** Kind and name of the process that said it. */
  source: string;
  data: Record<string, unknown>;
  text: string;
  storedAtMs: number;
}

/** How the stream is: it stores; it is gone, so that the broker answers 503; or it has no leader, so that nobody answers. */
export type AuditState = "up" | "gone" | "silent";

/** JetStream's AUDIT stream: stores after a while, acknowledges, and knows a repeat by its `Nats-Msg-Id`. */
export class AuditStream {
  readonly stored: StoredEvent[] = [];
  state: AuditState = "up";
  /** What storing takes, milliseconds. */
  storeMs: () => number = () => 0.5;
  readonly #world: World;
  readonly #byId = new Map<string, StoredEvent>();
  readonly #underWay = new Set<string>();

  constructor(world: World) {
    this.#world = world;
  }

  find(id: string): StoredEvent | undefined {
    return this.#byId.get(id);
  }

  /** @returns false when there is no stream */
  take(message: Message, acknowledge: (ack: object) => void): boolean {
    if (this.state !== "up") {
      this.#world.note(`the audit stream is ${this.state}`);
      return this.state === "silent";
    }
    const id = message.headers?.get(HEADERS.msgId) ?? "";
    const ack = (more: object) => acknowledge({ stream: "AUDIT", seq: this.stored.length, ...more });
    if (this.#byId.has(id)) ack({ duplicate: true });
    else if (!this.#underWay.has(id)) {
      this.#underWay.add(id);
      this.#world.at(this.#world.nowMs + this.storeMs(), () => {
        this.#underWay.delete(id);
        this.#store(id, message);
        ack({});
      });
    }
    return true;
  }

  #store(id: string, message: Message): void {
    const subject = parseEventSubject(message.subject);
    const text = new TextDecoder().decode(message.data);
    const event: StoredEvent = {
      id,
      type: subject?.type ?? "",
      dataClass: subject?.dataClass ?? "",
      source: `${subject?.process}/${subject?.name}`,
      data: JSON.parse(text) as Record<string, unknown>,
      text,
      storedAtMs: this.#world.nowMs,
    };
    this.#byId.set(id, event);
    this.stored.push(event);
    this.#world.note(`stored ${event.type} of ${event.source} ${(event.data["job_id"] as string | undefined) ?? ""}`);
  }
}
