import { z } from "zod";
import { Caller } from "./caller.ts";
import { ClassifiedBy, DataClass, DeclaredAs, Layer } from "./classes.ts";
import { Commitments } from "./commitments.ts";
import { Decision } from "./decision.ts";
import { RecordedInputs } from "./decision-inputs.ts";
import { WireError } from "./errors.ts";
import { CHANGE_EVENTS } from "./events-changes.ts";
import { COMPLETENESS_EVENTS } from "./events-completeness.ts";
import { DURABLE_EVENTS } from "./events-durable.ts";
import { HEALING_EVENTS } from "./events-healing.ts";
import { LOG_EVENTS } from "./events-log.ts";
import { Cost, Outcome, Timing, Usage } from "./job.ts";
import { NODE_STATES, UserKey } from "./registry.ts";
import { UPGRADE_EVENTS } from "./release.ts";
import { Count, IsoTime, JobId, Label, ModelName, NodeId, SubjectToken, UnixMs, WattHours } from "./units.ts";
import { WAKE_OUTCOMES } from "./wake.ts";

/** A policy as decisions name it. */
const PolicyName = z.string().min(1).max(100);

/** What a decision read, to make it again (docs/replay.md); null in records from before there was that. */
const Inputs = RecordedInputs.nullable().default(null);

/** Characters of a policy's text in an event, at most: the event stays below the 1 MiB that a bus takes by default. */
export const MAX_POLICY_TEXT = 400_000;

/** Sizes of a job, never its content. */
const Sizes = z.object({ request_bytes: Count, prompt_tokens_estimate: Count });

/** Kinds of processes that record events, as the subject of an event names them (ADR 0012). */
export type EventSource = "router" | "agent" | "auditor" | "gateway" | "keeper";

/**
 * Every event of the mesh: one entry a type, with the schema of its data, what it means, which processes record it (the
 * broker lets no other, permissions.ts) and whether it is about a job and so of a class. Adding one is one entry.
 * Events carry sizes and metadata, never prompts, answers or keys (DESIGN promise 4).
 */
export const EVENTS = {
  job_decided: {
    by: ["router"],
    ofJob: true,
    summary: "A router chose a node for a job, or found none; recorded before the job is dispatched.",
    data: z.object({
      job_id: JobId,
      attempt: Count,
      decision: Decision,
      sizes: Sizes,
      inputs: Inputs,
      /** What the places that may declare a class say, and who so decided the class; left out of a durable job's runs. */
      declared: z.object({ header: DeclaredAs, body: DeclaredAs, classified_by: ClassifiedBy }).optional(),
      /** As the job said it. */
      caller: Caller.optional(),
      /** When the job must have ended. */
      deadline_unix_ms: UnixMs.optional(),
      /** How long the job waited in its router until it was decided, milliseconds; left out = not at all. */
      waited_ms: Count.optional(),
    }),
  },
  class_mismatch: {
    by: ["router"],
    ofJob: true,
    summary: "Header and body of a job declare different classes, or one that is no class; the strictest counts.",
    data: z.object({
      job_id: JobId,
      /** What `Mesh-Class` says. */
      header: DeclaredAs,
      /** What the body's `security_level` says. */
      body: DeclaredAs,
      /** The class that the job is handled under. */
      security_level: DataClass,
    }),
  },
  job_redispatched: {
    by: ["router"],
    ofJob: true,
    summary: "A node refused, failed or was lost; the job goes on elsewhere.",
    data: z.object({
      job_id: JobId,
      attempt: Count,
      from_node_id: NodeId,
      /** Null: no try was left, or the caller goes on and asks for the next one itself. */
      to_node_id: NodeId.nullable(),
      /** Why the first node does not run it. */
      error: WireError,
      /** The decision on the next one; null when no try was left. */
      decision: Decision.nullable().default(null),
      inputs: Inputs,
    }),
  },
  job_hedged: {
    by: ["router"],
    ofJob: true,
    summary:
      "A job of which its node has told nothing yet was given to a second one, too; the first that has a word tells it.",
    data: z.object({
      job_id: JobId,
      attempt: Count,
      from_node_id: NodeId,
      to_node_id: NodeId,
      /** The decision on the second node. */
      decision: Decision,
      inputs: Inputs,
    }),
  },
  job_ended: {
    by: ["router", "agent"],
    ofJob: true,
    summary: "A job reached its one ending.",
    data: z.object({
      job_id: JobId,
      status: Outcome,
      node_id: NodeId.nullable(),
      layer: Layer.nullable(),
      model: ModelName.nullable(),
      decision_id: z.string().max(64).nullable(),
      finish_reason: z.string().max(40).nullable(),
      usage: Usage.nullable(),
      /** Only where the node knows a price: cloud providers. */
      cost: Cost.optional(),
      /** Electricity of the run; only where the node's power is known. */
      energy_wh: WattHours.optional(),
      timing: Timing.nullable(),
      error: WireError.nullable(),
      /** The job came sealed, and so did its answer. */
      sealed: z.boolean().optional(),
      /** As the job said it. */
      caller: Caller.optional(),
      /** Left out where a router ended it. */
      commitments: Commitments.optional(),
      /** How long it had waited in its router when it ended there undecided, milliseconds. */
      waited_ms: Count.optional(),
    }),
  },
  ...DURABLE_EVENTS,
  ...LOG_EVENTS,
  node_joined: {
    by: ["router"],
    ofJob: false,
    summary: "A node was seen for the first time, or came back.",
    data: z.object({
      node_id: NodeId,
      layer: Layer,
      boot_id: z.string().nullable(),
      hostname: Label.nullable(),
      models: z.array(ModelName),
    }),
  },
  node_left: {
    by: ["router"],
    ofJob: false,
    summary: "A node said its last word.",
    data: z.object({ node_id: NodeId, layer: Layer, reason: Label.nullable() }),
  },
  node_lost: {
    by: ["router"],
    ofJob: false,
    summary: "A node fell silent, or the broker lost its connection, without a last word.",
    data: z.object({
      node_id: NodeId,
      layer: Layer,
      silent_ms: Count,
      /** What showed it. */
      by: z.enum(["silence", "disconnect"]).default("silence"),
    }),
  },
  node_woken: {
    by: ["router"],
    ofJob: false,
    summary: "A machine that slept was woken by a neighbour's magic packet, or did not come up by it.",
    data: z.object({
      node_id: NodeId,
      layer: Layer,
      /** A router, for a job, or an operator. */
      asked_by: Label,
      /** The first job that wanted it. */
      job_id: JobId.nullable(),
      /** Who sent the packet. */
      neighbour: NodeId,
      outcome: z.enum(WAKE_OUTCOMES),
      /** From the order until the node took jobs, or was given up. */
      after_ms: Count,
      reason: Label.nullable(),
      /** Jobs wake it no more before then; null = they may. */
      not_before: IsoTime.nullable(),
    }),
  },
  node_ejected: {
    by: ["router"],
    ofJob: false,
    summary: "A node that failed several jobs in a row gets no more of this router for a while.",
    data: z.object({ node_id: NodeId, layer: Layer, failures: Count, for_ms: Count }),
  },
  node_controlled: {
    by: ["agent"],
    ofJob: false,
    summary:
      "An operator cordoned, drained, suspended or resumed a node, or had it load, unload or download a model, restart a runtime, use a GPU again, change how it is called, or upgrade itself; or somebody at the machine paused it, let it finish or resumed it (`owner-…`).",
    data: z.object({
      node_id: NodeId,
      command: SubjectToken,
      reason: Label.nullable(),
      /** Who gave it, as their program says; left out by older ones, and by an owner at the machine. */
      by: Label.optional(),
      /** Of a command that takes its time; recorded when it has ended, with the error if it failed. */
      model: ModelName.optional(),
      runtime: SubjectToken.optional(),
      error: WireError.optional(),
    }),
  },
  ...HEALING_EVENTS,
  ...UPGRADE_EVENTS,
  policy_changed: {
    by: ["router"],
    ofJob: false,
    summary:
      "A router decides by this policy from now on, because it started or because the policy on the bus changed.",
    data: z.object({
      /** As decisions name it: revision and the first digits of the text's SHA-256. */
      policy_revision: PolicyName,
      /** Null when the router started with it. */
      previous_revision: PolicyName.nullable(),
      by: Label,
      note: Label.nullable(),
      text_sha256: z
        .string()
        .regex(/^[0-9a-f]{64}$/)
        .nullable()
        .default(null),
      /** The routing file's own text, for as long as the log is kept; null when it is too large for one event. */
      text: z.string().max(MAX_POLICY_TEXT).nullable().default(null),
    }),
  },
  policy_rejected: {
    by: ["router"],
    ofJob: false,
    summary: "A policy revision on the bus is none that a router can use; it keeps the one it has.",
    data: z.object({ policy_revision: PolicyName, kept_revision: PolicyName, reason: z.string().max(500) }),
  },
  message_rejected: {
    by: ["router", "agent", "auditor", "keeper"],
    ofJob: false,
    summary: "Malformed messages were dropped or answered with an error; counted, one event per kind and second.",
    data: z.object({
      process: SubjectToken,
      subject_kind: SubjectToken,
      code: SubjectToken,
      field: z.string().max(200).nullable(),
      count: Count,
    }),
  },
  node_admitted: {
    by: ["keeper"],
    ofJob: false,
    summary:
      "Who may speak on the bus changed: a token was made for a node, it joined by it, or it was revoked; or a reader of events was let in or revoked.",
    data: z.object({
      node_id: NodeId,
      layer: Layer,
      state: z.enum(NODE_STATES),
      by: Label,
      reason: Label.nullable(),
      public_key: UserKey.nullable(),
      /** Of a reader of events, who is no node and whose `layer` says nothing: which it may read. */
      reads: z.array(z.string().max(80)).optional(),
    }),
  },
  process_started: {
    by: ["keeper"],
    ofJob: false,
    summary: "A part of the mesh started or was restarted by its supervisor.",
    data: z.object({ process: SubjectToken, restarts: Count, exit: z.string().max(60).nullable() }),
  },
  ...COMPLETENESS_EVENTS,
  ...CHANGE_EVENTS,
} as const satisfies Record<string, { by: readonly EventSource[]; ofJob: boolean; summary: string; data: z.ZodType }>;

export type EventType = keyof typeof EVENTS;
export type EventData<T extends EventType> = z.infer<(typeof EVENTS)[T]["data"]>;
export const EVENT_TYPES = Object.keys(EVENTS) as EventType[];

/** CloudEvents `type` of an event: reverse-DNS-like prefix and the list's key. */
export const CE_TYPE_PREFIX = "tiermesh.";

/** An event with its CloudEvents attributes, as the auditor stores it and `audit tail --json` prints it. */
export const EventRecord = z.object({
  id: z.string().min(1).max(64),
  source: z.string().min(1).max(200),
  type: z.enum(EVENT_TYPES as [EventType, ...EventType[]]),
  time: IsoTime,
  security_level: DataClass.nullable(),
  /** W3C trace context of the job. */
  traceparent: z.string().max(100).nullable().default(null),
  data: z.unknown(),
});
export type EventRecord = z.infer<typeof EventRecord>;
