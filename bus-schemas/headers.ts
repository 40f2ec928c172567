/** NATS headers of the mesh. CloudEvents attributes travel in binary mode as `ce-*` (CloudEvents NATS binding 1.0.2). */
export const HEADERS = {
  contentType: "Content-Type",
  traceparent: "traceparent",
  /** Job id. */
  job: "Mesh-Job",
  /** Declared (submit) or effective (run) data class. */
  dataClass: "Mesh-Class",
  /** Absolute deadline, epoch milliseconds. */
  deadline: "Mesh-Deadline",
  /** Sequence number of a reply in its stream, from 0. */
  seq: "Mesh-Seq",
  /** Where the agent sends the answer: the caller's inbox. */
  reply: "Mesh-Reply",
  /** Model chosen by the router, as the node spells it. */
  model: "Mesh-Model",
  /** Which try this is, from 1. */
  attempt: "Mesh-Attempt",
  /** Task queue that the job came on: the node's verdicts say it again, so that every router can count. */
  queue: "Mesh-Queue",
  /**
   * Of a submitted stream: its caller goes on by itself when the node is lost or fails, and which try this is, from 1.
   */
  resume: "Mesh-Resume",
  /** Of a dispatched job: who goes on when this try fails for a reason that another node may not have: router or caller. */
  handBack: "Mesh-Hand-Back",
  /** Of a dispatched job: its router answers `accepted` with a go-ahead, and nothing of the job is told before that (`GO_AHEAD`). */
  goAhead: "Mesh-Go-Ahead",
  /** Id of the decision event that sent the job here. */
  decision: "Mesh-Decision",
  /** Fencing token of a durable job's run: a node obeys the highest that it has seen for the job. */
  fence: "Mesh-Fence",
  /** How often a durable job was put in its queue, from 1. */
  round: "Mesh-Round",
  /** What is known of a dead letter, as JSON. */
  letter: "Mesh-Letter",
  /** The router's signed permission to send a sealed job (ticket.ts). */
  ticket: "Mesh-Ticket",
  /** HPKE's encapsulated key of a sealed job, base64url. */
  seal: "Mesh-Seal",
  /** Dedupe id of JetStream. */
  msgId: "Nats-Msg-Id",
  /** Who applied a policy revision or set a model's quality, and why. */
  policyBy: "Mesh-Policy-By",
  policyNote: "Mesh-Policy-Note",
  ceSpecVersion: "ce-specversion",
  ceId: "ce-id",
  ceSource: "ce-source",
  ceType: "ce-type",
  ceTime: "ce-time",
  ceSubject: "ce-subject",
} as const;

/** When a node asks for the go-ahead: as soon as it accepts, or when it has its first word, for another node may be quicker. */
export const GO_AHEAD = { atOnce: "1", whenItSpeaks: "first" } as const;

export const CONTENT_TYPES = {
  json: "application/json",
  /** Plain MessagePack, self-describing. */
  msgpack: "application/msgpack",
  /** MessagePack with pre-shared record structures; `; v=<version>` names the table (structures.ts). */
  sharedMsgpack: "application/vnd.tiermesh.msgpack",
  /** Ciphertext of JSON: a sealed job or a frame of its answer (ADR 0011). */
  sealed: "application/x-tiermesh-sealed",
} as const;
