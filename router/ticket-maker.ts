import { MeshError, TICKET_LIFE_MS, type Decision, type SealKey, type Ticket } from "../bus-schemas/index.ts";
import { TicketSigner } from "../service/sealing/index.ts";
import type { RouterParts } from "./parts.ts";
import { sealKeyOf } from "./policy/filters/encryption.ts";
import type { RouteRequest } from "./policy/types.ts";
import { refusalOf } from "./waiting/plain-job.ts";

/** Deadlines on the bus are below the year 2286; no job of ours is further away than this, milliseconds. */
const MAX_DEADLINE_MS = 30 * 24 * 3_600_000;

/** A ticket and the text of it that is sent. */
interface Signed {
  ticket: Ticket;
  token: string;
}

/** Makes and signs tickets with a key of this process. */
export class TicketMaker {
  readonly #parts: Pick<RouterParts, "fleet">;
  readonly #router: string;
  readonly #newToken: () => string;
  readonly #signer = new TicketSigner();

  /** @param router name of this router in tickets */
  constructor(parts: Pick<RouterParts, "fleet">, router: string, newToken: () => string) {
    this.#parts = parts;
    this.#router = router;
    this.#newToken = newToken;
  }

  /** As agents are told it. */
  get publicKey(): { kid: string; public_key: string } {
    return { kid: this.#signer.kid, public_key: this.#signer.publicKey };
  }

  /**
   * Signs a ticket while the record of its decision is on its way: it leaves this process only when that is durable.
   * @returns undefined when the decision has no node, or none with a key
   */
  async sign(
    request: RouteRequest,
    decision: Decision,
    decisionId: string,
    attempt: number,
  ): Promise<Signed | undefined> {
    // The record is on its way before: its spool and the bus queued their writes already. Signed at once, it would wait.
    await Promise.resolve();
    const { node_id: nodeId, layer, model } = decision;
    if (nodeId === null || layer === null || model === null) return undefined;
    const nowMs = this.#parts.fleet.nowMs();
    const node = this.#keyOf(nodeId, nowMs);
    if (node === undefined) return undefined;
    const ticket: Ticket = {
      v: 1,
      router: this.#router,
      signer: this.#signer.kid,
      id: this.#newToken(),
      job: request.jobId,
      class: request.dataClass,
      node: nodeId,
      layer,
      boot_id: node.bootId,
      model,
      queue: request.taskType,
      kid: node.key.kid,
      public_key: node.key.public_key,
      issued_unix_ms: nowMs,
      expires_unix_ms: nowMs + TICKET_LIFE_MS,
      deadline_unix_ms: Math.min(request.deadlineMs, nowMs + MAX_DEADLINE_MS),
      decision_id: decisionId,
      attempt,
    };
    return { ticket, token: this.#signer.sign(ticket) };
  }

  /** @throws MeshError the decision's own, or that the node is gone or another since the ticket was signed. */
  stillGood(signed: Signed | undefined, decision: Decision): Signed {
    const { node_id: nodeId } = decision;
    if (nodeId === null) throw refusalOf(decision);
    const node = this.#keyOf(nodeId, this.#parts.fleet.nowMs());
    if (signed === undefined || node?.bootId !== signed.ticket.boot_id)
      throw new MeshError("no_node", `${nodeId} went away while its job was decided`, { retryAfterMs: 1000 });
    return signed;
  }

  /** Of a node that is there and can be sealed to. */
  #keyOf(nodeId: string, nowMs: number): { bootId: string; key: SealKey } | undefined {
    const record = this.#parts.fleet.fleet.view(nodeId)?.record;
    const key = record === undefined ? undefined : sealKeyOf(record, nowMs);
    const bootId = record?.boot_id ?? undefined;
    return key === undefined || bootId === undefined ? undefined : { bootId, key };
  }
}
