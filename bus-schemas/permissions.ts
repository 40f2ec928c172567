import type { Layer } from "./classes.ts";
import { OWN_INBOXES, TOOL_INBOX } from "./permissions-parts.ts";
import { TEMPLATES } from "./role-templates.ts";
import { subjectPatterns, subjects } from "./subjects.ts";

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
  reader: "reads the events that it was given, by a durable consumer of its own",
  operator: "an administrator who is security officer and auditor as well, and `tiermesh` at the keyboard",
  administrator: "the operator of a bus with separate duties: runs machines; neither policy, keys nor record",
  security: "a security officer: the policy, and who may join",
  inspector: "an auditor of the company: reads the record and says who else reads events; changes nothing",
  keeper: "beside the broker: makes the streams, knows who may join",
  join: "holder of a join token: good for one thing, once",
  invite: "holder of an invitation: may ask to be let in",
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
  /** Of agents and of join tokens; of a reader the name of its consumer. */
  node?: string;
  layer?: Layer;
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
