import { z } from "zod";
import { AuditFilter, AuditPage, AuditQuery, AuditStats, ExportReply, ReceiptReply, ReceiptRequest } from "./audit.ts";
import { CLASS, LAYER, address, type Channel, type ChannelMessage } from "./channel.ts";
import { ControlReply, ControlRequest } from "./control.ts";
import { DURABLE_CHANNELS } from "./channels-durable.ts";
import { REGISTRY_CHANNELS } from "./channels-registry.ts";
import { RELEASE_CHANNELS } from "./channels-release.ts";
import { Decision } from "./decision.ts";
import { JobReceipt } from "./durable.ts";
import { EVENTS, EVENT_TYPES } from "./events.ts";
import { ExportNote } from "./events-changes.ts";
import { CancelRequest, GoAhead, Heard, JobRequest, JobResult, StreamFrame, Verdict, WorkingFrame } from "./job.ts";
import { NodeGone, NodeRecord } from "./node-record.ts";
import { StructureTable } from "./structures.ts";
import { RouterKey, RouteQuery, TicketReply } from "./ticket.ts";
import { MagicOrder, MagicReply, WakeReply, WakeRequest } from "./wake.ts";

/** What may stand in a subject's place of that name. */
export const CHANNEL_PARAMETERS = {
  cell: "Cell of the mesh; the default one is main.",
  layer: "L0 (terminals), L1 (local servers) or L2 (cloud).",
  node: "Id of a node.",
  queue: "Task queue of the routing policy: chat, rag, media or your own.",
  class: "Data class: P0, P1 or P2; events that concern no job say none.",
  router: "Id of the router that dispatched.",
  dispatch: "Number of the dispatch within that router.",
  job: "Id of a job.",
  type: "Event type, see the messages.",
  process: "Kind of process that says it: agent, router, auditor, gateway or keeper (tiermesh up).",
  name: "Which one of its kind: a node's id, a router's id, a host; where there is only one, its kind.",
  severity: "warning, error or critical.",
  rule: "Name of the alert rule.",
  fence: "Fencing token of a run: a number.",
  letter: "Name of a dead letter: the job's id, if it is of a job.",
  verb: "list, dead, requeue, drop or content.",
  advisory: "connect or disconnect.",
  version: "Version of a table of shared structures, or of a release with _ for each point.",
  file: "SHA-256 of a file, hexadecimal.",
  chunk: "Number of a piece of a file, from 0.",
} as const;

const job: ChannelMessage = { name: "JobRequest", summary: "A job.", schema: JobRequest };
const result: ChannelMessage = { name: "JobResult", summary: "The one ending of a job.", schema: JobResult };
const frame: ChannelMessage = {
  name: "StreamFrame",
  summary: "With stream: true, several of these in the order of Mesh-Seq; the last one is the end.",
  schema: StreamFrame,
  headers: "frame",
};

/** Bytes that only their receiver can open. */
const Ciphertext = z.string().describe("Binary; Content-Type application/x-tiermesh-sealed.");

/** The whole bus contract as a list: docs/schemas/asyncapi.json is made from it. */
export const CHANNELS: readonly Channel[] = [
  {
    name: "heartbeat",
    address: address((s) => s.heartbeat(LAYER, "_node_")),
    from: "agent",
    to: "router, monitor, gateway",
    guarantee: "Core publish about every second; carries the whole node record, so a newcomer needs one round.",
    messages: [{ name: "NodeRecord", summary: "What a node says of itself.", schema: NodeRecord }],
  },
  {
    name: "jobSubmit",
    address: address((s) => s.submit("_queue_")),
    from: "client",
    to: "router (one of a queue group)",
    guarantee:
      "Request; one reply, or a stream of replies when stream is set; a receipt when durable is set. Every accepted job ends exactly once.",
    messages: [job],
    reply: [
      result,
      frame,
      { name: "JobReceipt", summary: "With durable: true: the broker keeps the job.", schema: JobReceipt },
    ],
  },
  {
    name: "jobRoute",
    address: address((s) => s.route),
    from: "client",
    to: "router (one of a queue group)",
    guarantee:
      "Request; decides only, nothing is run. With ticket: true the decision counts, and for a class that requires encryption a ticket comes with it.",
    messages: [{ name: "RouteQuery", summary: "A job, or what routing needs of it.", schema: RouteQuery }],
    reply: [
      { name: "Decision", summary: "Where the job would go, and why.", schema: Decision },
      { name: "TicketReply", summary: "With ticket: true: the ticket, or that none is needed.", schema: TicketReply },
      {
        name: "TicketWaits",
        summary: "With ticket: true: no node is free yet; the answer follows.",
        schema: WorkingFrame,
      },
      { ...result, name: "TicketRefused", summary: "With ticket: true: the job was refused, this is its ending." },
    ],
  },
  {
    name: "jobRun",
    address: address((s) => s.run(CLASS, "_node_")),
    from: "router",
    to: "agent",
    guarantee: "The agent accepts or refuses within 250 ms, then answers the caller's inbox (Mesh-Reply) directly.",
    messages: [
      { ...job, name: "DispatchedJob", summary: "The caller's own bytes, with Mesh-* headers.", headers: "job" },
    ],
    replyOn: "jobVerdict",
  },
  {
    name: "jobSealed",
    address: address((s) => s.sealed(CLASS, "_node_")),
    from: "ticket holder",
    to: "agent",
    guarantee: "Request; the agent answers with sealed frames, or in clear that it refuses (docs/decisions/0011).",
    messages: [
      {
        name: "SealedJob",
        summary: "HPKE ciphertext of a JobRequest as JSON; the ticket is its associated data.",
        schema: Ciphertext,
        headers: "sealed",
      },
    ],
    reply: [
      {
        name: "SealedFrame",
        summary: "AES-256-GCM ciphertext of a StreamFrame as JSON, in the order of Mesh-Seq.",
        schema: Ciphertext,
        headers: "frame",
      },
      { ...result, name: "SealedJobRefused", summary: "The node does not take the job; without Mesh-Seq." },
    ],
  },
  {
    name: "routerKey",
    address: address((s) => s.routerKey("_router_")),
    from: "router",
    to: "agent",
    guarantee: "Core publish every second; a key that is not announced for five seconds signs nothing any more.",
    messages: [{ name: "RouterKey", summary: "The key that verifies this router's tickets.", schema: RouterKey }],
  },
  {
    name: "jobVerdict",
    address: address((s) => s.verdict("_router_", "_node_", "_dispatch_")),
    from: "agent",
    to: "router",
    guarantee: "Reply subject of job.run; the broker answers 503 on it when the agent is gone.",
    messages: [{ name: "Verdict", summary: "Accepted or refused, later ended.", schema: Verdict }],
    reply: [
      { name: "GoAhead", summary: "To accepted: whether the job is still that node's.", schema: GoAhead },
      { name: "Heard", summary: "To ended: it need not be told again.", schema: Heard },
    ],
  },
  {
    name: "jobCancel",
    address: address((s) => s.cancel("_job_")),
    from: "client",
    to: "agent, router",
    guarantee: "Core publish; the body may be empty. The job still ends once, usually as cancelled.",
    messages: [{ name: "CancelRequest", summary: "Why; may be left out.", schema: CancelRequest }],
  },
  {
    name: "nodeControl",
    address: address((s) => s.control("_node_")),
    from: "operator",
    to: "agent",
    guarantee: "Request; one reply, or of a command that takes its time one a second until that is done.",
    messages: [
      {
        name: "ControlRequest",
        summary: "Cordon, drain or resume; load, unload or download a model; upgrade or go back.",
        schema: ControlRequest,
      },
    ],
    reply: [{ name: "ControlReply", summary: "What the node did, or how far it is.", schema: ControlReply }],
  },
  {
    name: "nodeWake",
    address: address((s) => s.wake),
    from: "operator",
    to: "router (one of a queue group)",
    guarantee: "Request; one reply a second until the machine is ready or has not come up.",
    messages: [{ name: "WakeRequest", summary: "A machine that sleeps is wanted.", schema: WakeRequest }],
    reply: [{ name: "WakeReply", summary: "How far it is.", schema: WakeReply }],
  },
  {
    name: "nodeMagic",
    address: address((s) => s.magic("_node_")),
    from: "router",
    to: "agent",
    guarantee: "Request; one reply. The same wake again within a minute is answered, and nothing is sent.",
    messages: [
      {
        name: "MagicOrder",
        summary: "Wake a machine of a network that you are in, by a magic packet.",
        schema: MagicOrder,
      },
    ],
    reply: [{ name: "MagicReply", summary: "How many packets were sent, or why none.", schema: MagicReply }],
  },
  {
    name: "nodeGone",
    address: address((s) => s.nodeGone("_node_")),
    from: "the broker's keeper",
    to: "router, monitor, operator",
    guarantee: "Core publish within milliseconds of the loss; a bus without a keeper says nothing, silence tells then.",
    messages: [{ name: "NodeGone", summary: "The broker has lost this node's connection.", schema: NodeGone }],
  },
  {
    name: "advisory",
    address: address((s) => s.advisory("_advisory_" as "connect")),
    from: "nats-server",
    to: "the broker's keeper",
    guarantee: "The server's own advisories of this account (NATS: $SYS.ACCOUNT.<account>.CONNECT, DISCONNECT).",
    messages: [],
  },
  ...REGISTRY_CHANNELS,
  ...RELEASE_CHANNELS,
  ...DURABLE_CHANNELS,
  {
    name: "event",
    address: address((s) => s.event("_type_", CLASS, "_process_", "_name_")),
    from: "everyone",
    to: "JetStream stream AUDIT",
    guarantee:
      "At least once; Nats-Msg-Id is the event's id, so a repeat is stored once. Who says it is part of the subject, so that a broker can permit each process its own.",
    messages: EVENT_TYPES.map((type) => ({
      name: type,
      summary: EVENTS[type].summary,
      schema: EVENTS[type].data,
      headers: "cloudevent" as const,
    })),
  },
  {
    name: "auditQuery",
    address: address((s) => s.auditQuery),
    from: "operator",
    to: "auditor",
    guarantee: "Request; one reply, from what is durable in the auditor's log.",
    messages: [{ name: "AuditQuery", summary: "Which entries of the log.", schema: AuditQuery }],
    reply: [{ name: "AuditPage", summary: "Entries, oldest first.", schema: AuditPage }],
  },
  {
    name: "auditStats",
    address: address((s) => s.auditStats),
    from: "operator",
    to: "auditor",
    guarantee: "Request; one reply, from the search index over the signed log, a second or two behind it.",
    messages: [{ name: "AuditFilter", summary: "Which entries are counted.", schema: AuditFilter }],
    reply: [{ name: "AuditStats", summary: "Numbers over them.", schema: AuditStats }],
  },
  {
    name: "auditExport",
    address: address((s) => s.auditExport),
    from: "operator",
    to: "auditor",
    guarantee: "Request; one reply, as soon as the event that records it is durable.",
    messages: [
      { name: "ExportNote", summary: "What was taken out of the mesh as a file, and by whom.", schema: ExportNote },
    ],
    reply: [{ name: "ExportReply", summary: "The event's id, or why it is not on record.", schema: ExportReply }],
  },
  {
    name: "auditReceipt",
    address: address((s) => s.auditReceipt),
    from: "client, gateway, operator",
    to: "auditor",
    guarantee: "Request; one reply, as soon as a checkpoint covers the job's ending, or when wait_ms is over.",
    messages: [{ name: "ReceiptRequest", summary: "Of which job.", schema: ReceiptRequest }],
    reply: [{ name: "ReceiptReply", summary: "The receipt, or that there is none yet.", schema: ReceiptReply }],
  },
  {
    name: "alert",
    address: address((s) => s.alert("_severity_", "_rule_")),
    from: "monitor, auditor",
    to: "subscribers",
    guarantee:
      "Core publish. Of the processes of this version the auditor alone sends any: rule audit_gap, when the record is not whole; the event of the same name is the record of it.",
    messages: [{ name: "AuditGap", summary: "What is missing.", schema: EVENTS.audit_gap.data }],
  },
  {
    name: "codec",
    address: address((s) => s.codec("_version_")),
    from: "any process",
    to: "any process with that table",
    guarantee: "Request with an empty body; one reply.",
    messages: [],
    reply: [
      { name: "StructureTable", summary: "Field names of the shared msgpack structures.", schema: StructureTable },
    ],
  },
];
