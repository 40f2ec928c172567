import { AUDITORS } from "./auditors.ts";
import { EVENTS, EVENT_TYPES, type EventSource } from "./events.ts";
import {
  API_ADVISORIES,
  asksForReceipts,
  asksTheLog,
  keepsTheLog,
  makesReaders,
  readsEvents,
  saysExports,
} from "./permissions-audit.ts";
import { callsDurable, hearsQueues, makesJobStreams, runsQueues } from "./permissions-durable.ts";
import { administers, guards, inspects, looks } from "./permissions-duties.ts";
import { TOOL_INBOX, micro, reads } from "./permissions-parts.ts";
import type { Grant, Holder, Permissions, Role } from "./permissions.ts";
import { NO_CLASS, type EventClass, type Subjects } from "./subjects.ts";

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
    asksForReceipts(s),
    codec(s),
  ];
}

/** What people at the keyboard see of the fleet. */
function sees(s: Subjects, inbox: string): Grant[] {
  return [
    { subject: s.heartbeats, why: "the fleet" },
    { subject: s.nodesGone, why: "connections that the broker lost" },
    { subject: s.alerts, why: "alerts" },
    codec(s),
    own(inbox),
  ];
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
        { subject: s.releaseGet(node), why: "a release's bytes" },
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
        { subject: s.magic(node), why: "to wake a neighbour" },
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

/** What each role may say and hear. */
export const TEMPLATES: Readonly<Record<Role, Template>> = {
  router: (s, { inbox }) => ({
    publish: [
      { subject: s.run("*" as never, "*"), why: "dispatch" },
      { subject: s.cancel("*"), why: "cancels what was accepted too late" },
      { subject: s.routerKey("*"), why: "its key for tickets" },
      ...runsQueues(s),
      ...records(s, "router", "*"),
      ...reads(s.policyBucket.stream, "the policy"),
      ...reads(s.qualityBucket.stream, "quality of models"),
      { subject: s.sleepBucket.keys, why: "machines that sleep" },
      ...reads(s.sleepBucket.stream, "machines that sleep"),
      { subject: s.magic("*"), why: "has a machine woken" },
      answers,
      codec(s),
    ],
    subscribe: [
      { subject: s.submits, why: "jobs" },
      { subject: s.route, why: "where would it go; tickets" },
      { subject: s.wake, why: "an operator wants a machine" },
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
    publish: [
      ...calls(s),
      ...records(s, "gateway", "*"),
      { subject: "$SRV.PING.tiermesh-router", why: "whether a router is there" },
      answers,
    ],
    subscribe: [{ subject: s.heartbeats, why: "the models that there are" }, codec(s), ...micro("gateway"), own(inbox)],
  }),
  auditor: (s, { inbox }) => ({
    publish: [
      ...AUDITORS.flatMap((name) => records(s, "auditor", name)),
      ...keepsTheLog(s),
      ...reads(s.policyBucket.stream, "the policy"),
      ...reads(s.auditorBucket.stream, "whose turn it is to write the log"),
      answers,
      codec(s),
    ],
    subscribe: [
      ...asksTheLog(s, "questions about the log"),
      saysExports(s),
      asksForReceipts(s),
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
  reader: (s, { inbox, node }) => {
    if (node === undefined) throw new RangeError("a reader has the name of its consumer");
    return { publish: readsEvents(s, node), subscribe: [own(inbox)] };
  },
  operator: (s, { inbox }) => ({
    publish: [...calls(s), ...administers(s), ...guards(s), ...inspects(s), ...looks(s), answers],
    subscribe: [{ subject: s.events, why: "what happens" }, ...sees(s, inbox)],
  }),
  administrator: (s, { inbox }) => ({
    publish: [...calls(s), ...administers(s), saysExports(s), ...looks(s), answers],
    subscribe: sees(s, inbox),
  }),
  security: (s, { inbox }) => ({ publish: [...guards(s), ...looks(s), codec(s)], subscribe: sees(s, inbox) }),
  inspector: (s, { inbox }) => ({
    publish: [...inspects(s), asksForReceipts(s), ...looks(s), codec(s)],
    subscribe: [{ subject: s.events, why: "what happens" }, ...sees(s, inbox)],
  }),
  keeper: (s, { inbox }) => ({
    publish: [
      ...records(s, "keeper", "*"),
      ...[
        s.auditStream,
        s.policyBucket.stream,
        s.qualityBucket.stream,
        s.nodesBucket.stream,
        s.sleepBucket.stream,
        s.auditorBucket.stream,
        s.releaseStream,
      ].flatMap((stream) =>
        ["CREATE", "UPDATE", "INFO", "MSG.GET"].map((verb) => ({
          subject: `$JS.API.STREAM.${verb}.${stream}`,
          why: "makes the streams",
        })),
      ),
      ...makesJobStreams(s),
      ...makesReaders(s),
      { subject: s.policyBucket.key, why: "the first policy" },
      { subject: s.nodesBucket.keys, why: "who may join" },
      { subject: s.nodeGone("*"), why: "connections that the broker lost" },
      { subject: "$JS.API.INFO", why: "whether there is JetStream" },
      answers,
      codec(s),
    ],
    subscribe: [
      ...[
        s.registryAdd,
        s.registryRevoke,
        s.registryList,
        s.registryInvite,
        s.registryDecide,
        s.registryReader,
        s.registryAsk,
        s.registryJoins,
      ].map((subject) => ({ subject, why: "who may join" })),
      { subject: s.nodesBucket.keys, why: "what another server's keeper changed" },
      { subject: s.releaseGets, why: "agents that want a release's bytes" },
      { subject: s.releases, why: "who brought a release" },
      { subject: API_ADVISORIES, why: "who changed the streams" },
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
  invite: (s, { inbox }) => ({ publish: [{ subject: s.registryAsk, why: "to be let in" }], subscribe: [own(inbox)] }),
};
