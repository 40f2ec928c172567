import { AUDITORS } from "./auditors.ts";
import type { Layer } from "./classes.ts";
import { EVENTS, EVENT_TYPES, type EventSource } from "./events.ts";
import { asksAuditors, keepsLog } from "./permissions-log.ts";
import { callsDurable, hearsQueues, makesJobStreams, operatesQueues, runsQueues } from "./permissions-durable.ts";
import { NO_CLASS, subjectPatterns, subjects, type EventClass, type Subjects } from "./subjects.ts";

/**
 * What each role may do on the bus: the templates that the broker's configuration is made from (ADR 0013) and that the table
 * in docs/security.md is made from. Deny by default: what is not in a list is refused by the broker, whatever our code does.
 */
export const ROLES = {
  router: "decides, dispatches, signs tickets",
  agent: "runs jobs on a machine of the house, L0 or L1",
  egress: "an agent on L2 that reaches cloud providers",
  gateway: "takes jobs by HTTP",
  auditor: "keeps the log",
  monitor: "watches and raises alerts",
  client: "a program that submits jobs",
  operator: "an administrator, and `tiermesh` at the keyboard",
  keeper: "beside the broker: makes the streams, knows who may join",
  join: "holder of a join token: good for one thing, once",
} as const;
export type Role = keyof typeof ROLES;

/** A subject that may be spoken or heard, and what for. */
export interface Grant {
  subject: string;
  why: string;
}

export interface Permissions {
  publish: Grant[];
  subscribe: Grant[];
  /** Refused whatever the lists above say. */
  denySubscribe: Grant[];
}

/** Who is meant, beside the role. */
export interface Holder {
  cell?: string;
  /** Where its answers come: below this subject, and nobody else hears them. */
  inbox: string;
  /** Of agents and of join tokens. */
  node?: string;
  layer?: Layer;
}

/**
 * Inboxes of users with a key of their own are below this; a tool that knows nothing of the mesh makes inboxes beside it.
 * `_INBOX.own.<first 16 characters of the key behind its U>`.
 */
const OWN_INBOXES = "_INBOX.own";
/** Where every NATS client makes its inboxes unless told otherwise; as a holder's inbox: that of tools which cannot be told. */
export const TOOL_INBOX = "_INBOX";

/** Where answers to a user come: derived from its public nkey, so that a process needs to know nothing but its key. */
export function ownInbox(publicKey: string): string {
  return `${OWN_INBOXES}.${publicKey.slice(1, 17)}`;
}

/** JetStream's API for one stream: its state, and single messages of it. */
function reads(stream: string, why: string): Grant[] {
  return ["STREAM.INFO", "STREAM.MSG.GET"].map((verb) => ({ subject: `$JS.API.${verb}.${stream}`, why }));
}

/** Answering discovery (NATS ADR-32). */
function micro(process: string): Grant[] {
  const why = "found by nats micro";
  const whom = ["", `.tiermesh-${process}`, `.tiermesh-${process}.*`];
  return ["PING", "INFO", "STATS"].flatMap((verb) => whom.map((name) => ({ subject: `$SRV.${verb}${name}`, why })));
}

/** The events that a process records, under its own name only. */
function records(s: Subjects, process: EventSource, name: string, dataClass = "*"): Grant[] {
  return EVENT_TYPES.filter((type) => (EVENTS[type].by as readonly string[]).includes(process)).map((type) => ({
    subject: s.event(type, EVENTS[type].ofJob ? (dataClass as EventClass) : NO_CLASS, process, name),
    why: "its part of the record",
  }));
}

const codec = (s: Subjects): Grant => ({ subject: s.codec("*"), why: "tables of shared structures" });
const own = (inbox: string): Grant => ({ subject: `${inbox}.>`, why: "answers to it" });
/**
 * Not by the server's `allow_responses`: that lets whoever heard a message speak once on the reply subject in it, and its
 * sender writes there what it likes. Who may both say and hear anything could so speak on any subject at all.
 */
const answers: Grant = { subject: `${TOOL_INBOX}.>`, why: "answers to callers" };

/** What callers may do: submit, ask for tickets, send what is sealed, cancel. */
function calls(s: Subjects): Grant[] {
  return [
    { subject: s.submit("*"), why: "jobs" },
    { subject: s.route, why: "where would it go; tickets" },
    { subject: s.sealed("*" as never, "*"), why: "sealed jobs, with a ticket" },
    { subject: s.cancel("*"), why: "cancels a job whose id it knows" },
    ...callsDurable(s),
    codec(s),
  ];
}

/** @throws RangeError for an agent or a token without a node, and for a node or a cell that is not one word */
export function permissionsOf(role: Role, holder: Holder): Permissions {
  // The patterns below take wildcards: in place of a name one would permit what all the others may.
  const { control } = subjects(holder.cell);
  if (holder.node !== undefined) control(holder.node);
  const s = subjectPatterns(holder.cell);
  const lists = TEMPLATES[role](s, holder);
  return {
    publish: lists.publish,
    // nats-server (tried with 2.15.2) matches the `>` of a subscription to `a.>` with the `*` of a permission for `a.*`,
    // and then delivers all below. What is deeper is denied beside each of them.
    subscribe: lists.subscribe,
    denySubscribe: [
      ...(lists.denySubscribe ?? []),
      ...(holder.inbox === TOOL_INBOX ? [{ subject: `${OWN_INBOXES}.>`, why: "answers to others" }] : []),
      ...lists.subscribe.filter(endsInStar).map(deeper),
    ],
  };
}

function endsInStar({ subject }: Grant): boolean {
  return subject.endsWith("*");
}

function deeper({ subject }: Grant): Grant {
  return { subject: `${subject}.>`, why: "`*` is one word" };
}

type Template = (
  s: Subjects,
  holder: Holder,
) => Pick<Permissions, "publish" | "subscribe"> & Partial<Pick<Permissions, "denySubscribe">>;

/** An agent of the house hears all classes; one on L2 hears P2, and P0 and P1 are denied beside that. */
function agentTemplate(process: "agent", classes: readonly string[], denied: readonly string[]): Template {
  return (s, { inbox, node, layer }) => {
    if (node === undefined || layer === undefined) throw new RangeError("an agent has a node and a layer");
    return {
      publish: [
        { subject: s.heartbeat(layer, node), why: "its own heartbeat" },
        { subject: s.verdict("*", node, "*"), why: "its own word on a job" },
        ...records(s, process, node, classes.length === 1 ? classes[0] : "*"),
        answers,
        codec(s),
      ],
      subscribe: [
        ...classes.flatMap((dataClass) => [
          { subject: s.run(dataClass as never, node), why: "jobs for it" },
          { subject: s.sealed(dataClass as never, node), why: "sealed jobs for it" },
        ]),
        { subject: s.cancels, why: "cancelled jobs" },
        { subject: s.control(node), why: "an operator's word" },
        { subject: s.routerKeys, why: "keys of tickets" },
        codec(s),
        ...micro("agent"),
        own(inbox),
      ],
      denySubscribe: denied.flatMap((dataClass) =>
        [s.run(dataClass as never, ">"), s.sealed(dataClass as never, ">")].map((subject) => ({
          subject,
          why: `${dataClass} stays at home`,
        })),
      ),
    };
  };
}

const TEMPLATES: Record<Role, Template> = {
  router: (s, { inbox }) => ({
    publish: [
      { subject: s.run("*" as never, "*"), why: "dispatch" },
      { subject: s.cancel("*"), why: "cancels what was accepted too late" },
      { subject: s.routerKey("*"), why: "its key for tickets" },
      ...runsQueues(s),
      ...records(s, "router", "*"),
      ...reads(s.policyBucket.stream, "the policy"),
      ...reads(s.qualityBucket.stream, "quality of models"),
      answers,
      codec(s),
    ],
    subscribe: [
      { subject: s.submits, why: "jobs" },
      { subject: s.route, why: "where would it go; tickets" },
      ...hearsQueues(s),
      { subject: s.heartbeats, why: "the fleet" },
      { subject: s.nodesGone, why: "connections that the broker lost" },
      { subject: s.verdicts, why: "nodes' words on jobs" },
      { subject: s.cancels, why: "cancelled jobs" },
      { subject: s.routerKeys, why: "who shares the queues' caps" },
      codec(s),
      ...micro("router"),
      own(inbox),
    ],
  }),
  agent: agentTemplate("agent", ["P0", "P1", "P2"], []),
  egress: agentTemplate("agent", ["P2"], ["P0", "P1"]),
  gateway: (s, { inbox }) => ({
    publish: [...calls(s), { subject: "$SRV.PING.tiermesh-router", why: "whether a router is there" }, answers],
    subscribe: [{ subject: s.heartbeats, why: "the models that there are" }, codec(s), ...micro("gateway"), own(inbox)],
  }),
  auditor: (s, { inbox }) => ({
    publish: [
      ...AUDITORS.flatMap((name) => records(s, "auditor", name)),
      ...keepsLog(s),
      ...reads(s.policyBucket.stream, "the policy"),
      ...reads(s.auditorBucket.stream, "whose turn it is to write the log"),
      answers,
      codec(s),
    ],
    subscribe: [
      { subject: s.auditQuery, why: "questions about the log" },
      { subject: s.auditorBucket.key, why: "how far the log is agreed on" },
      codec(s),
      ...micro("auditor"),
      own(inbox),
    ],
  }),
  monitor: (s, { inbox }) => ({
    publish: [{ subject: s.alert("*", "*"), why: "alerts" }, answers, codec(s)],
    subscribe: [
      { subject: s.heartbeats, why: "the fleet" },
      { subject: s.nodesGone, why: "connections that the broker lost" },
      { subject: s.events, why: "what happens" },
      codec(s),
      ...micro("monitor"),
      own(inbox),
    ],
  }),
  client: (s, { inbox }) => ({ publish: [...calls(s), answers], subscribe: [codec(s), own(inbox)] }),
  operator: (s, { inbox }) => ({
    publish: [
      ...calls(s),
      { subject: s.control("*"), why: "cordon, drain, resume, models" },
      { subject: s.auditQuery, why: "the log" },
      ...operatesQueues(s),
      ...[s.registryAdd, s.registryRevoke, s.registryList].map((subject) => ({ subject, why: "who may join" })),
      { subject: s.policyBucket.key, why: "the policy" },
      ...reads(s.policyBucket.stream, "the policy"),
      { subject: s.qualityBucket.keys, why: "quality of models" },
      ...reads(s.qualityBucket.stream, "quality of models"),
      ...reads(s.auditStream, "events that happened"),
      ...asksAuditors(s),
      { subject: "$JS.API.INFO", why: "tools ask whether there is JetStream" },
      { subject: "$SRV.>", why: "nats micro" },
      answers,
    ],
    subscribe: [
      { subject: s.heartbeats, why: "the fleet" },
      { subject: s.nodesGone, why: "connections that the broker lost" },
      { subject: s.events, why: "what happens" },
      { subject: s.alerts, why: "alerts" },
      codec(s),
      own(inbox),
    ],
  }),
  keeper: (s, { inbox }) => ({
    publish: [
      ...records(s, "keeper", "*"),
      ...[
        s.auditStream,
        s.policyBucket.stream,
        s.qualityBucket.stream,
        s.nodesBucket.stream,
        s.auditorBucket.stream,
      ].flatMap((stream) =>
        ["CREATE", "UPDATE", "INFO", "MSG.GET"].map((verb) => ({
          subject: `$JS.API.STREAM.${verb}.${stream}`,
          why: "makes the streams",
        })),
      ),
      ...makesJobStreams(s),
      { subject: s.policyBucket.key, why: "the first policy" },
      { subject: s.nodesBucket.keys, why: "who may join" },
      { subject: s.nodeGone("*"), why: "connections that the broker lost" },
      { subject: "$JS.API.INFO", why: "whether there is JetStream" },
      answers,
      codec(s),
    ],
    subscribe: [
      ...[s.registryAdd, s.registryRevoke, s.registryList, s.registryJoins].map((subject) => ({
        subject,
        why: "who may join",
      })),
      { subject: s.nodesBucket.keys, why: "what another server's keeper changed" },
      ...(["connect", "disconnect"] as const).map((which) => ({
        subject: s.advisory(which),
        why: "who connected and who is gone",
      })),
      codec(s),
      own(inbox),
    ],
  }),
  join: (s, { inbox, node }) => {
    if (node === undefined) throw new RangeError("a join token is for a node");
    return { publish: [{ subject: s.registryJoin(node), why: "to join" }], subscribe: [own(inbox)] };
  },
};
