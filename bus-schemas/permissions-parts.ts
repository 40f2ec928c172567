import type { Grant } from "./permissions.ts";

/** Grants that several roles have. */

/** JetStream's API for one stream: its state, and single messages of it. */
export function reads(stream: string, why: string): Grant[] {
  return ["STREAM.INFO", "STREAM.MSG.GET"].map((verb) => ({ subject: `$JS.API.${verb}.${stream}`, why }));
}

/** Answering discovery (NATS ADR-32). */
export function micro(process: string): Grant[] {
  const why = "found by nats micro";
  const whom = ["", `.tiermesh-${process}`, `.tiermesh-${process}.*`];
  return ["PING", "INFO", "STATS"].flatMap((verb) => whom.map((name) => ({ subject: `$SRV.${verb}${name}`, why })));
}

/**
 * Inboxes of users with a key of their own are below this; a tool that knows nothing of the mesh makes inboxes beside it.
 * `_INBOX.own.<first 16 characters of the key behind its U>`.
 */
export const OWN_INBOXES = "_INBOX.own";
/** Where every NATS client makes its inboxes unless told otherwise; as a holder's inbox: that of tools which cannot be told. */
export const TOOL_INBOX = "_INBOX";

/** Where answers to a user come: derived from its public nkey, so that a process needs to know nothing but its key. */
export function ownInbox(publicKey: string): string {
  return `${OWN_INBOXES}.${publicKey.slice(1, 17)}`;
}
