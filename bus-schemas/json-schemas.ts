import { z } from "zod";
import { AuditEntry, AuditPage, AuditQuery } from "./audit.ts";
import { ControlReply, ControlRequest } from "./control.ts";
import { Decision } from "./decision.ts";
import { EVENTS, EVENT_TYPES, EventRecord } from "./events.ts";
import { JobRequest, JobResult, StreamFrame, Verdict } from "./job.ts";
import { NodeRecord } from "./node-record.ts";
import { RoutingConfig } from "./policy.ts";
import { RouterKey, RouteQuery, Ticket, TicketReply } from "./ticket.ts";

/** Schemas published for people who write clients in other languages: file name without ending → schema. */
export const PUBLISHED_SCHEMAS: Readonly<Record<string, z.ZodType>> = {
  AuditEntry,
  AuditPage,
  AuditQuery,
  ControlReply,
  ControlRequest,
  Decision,
  EventRecord,
  JobRequest,
  JobResult,
  NodeRecord,
  RouteQuery,
  RouterKey,
  RoutingConfig,
  StreamFrame,
  Ticket,
  TicketReply,
  Verdict,
  ...Object.fromEntries(EVENT_TYPES.map((type) => [`event.${type}`, EVENTS[type].data])),
};

/** JSON Schema (draft 2020-12) of what a sender may write: fields with a default are optional. */
export function jsonSchema(name: string, schema: z.ZodType): object {
  return { title: name, ...z.toJSONSchema(schema, { io: "input", target: "draft-2020-12" }) };
}
