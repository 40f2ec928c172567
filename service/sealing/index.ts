/** Sealed jobs (ADR 0011): HPKE to the node, tickets signed by routers, frames sealed back. */
export { FrameKey } from "./frame-key.ts";
export { expectJob, newNodeKey, openJob, publicText, sealJob, type NodeKeyPair } from "./hpke.ts";
export { paddedJson } from "./pad.ts";
export { TicketSigner, kidOf, readTicket, ticketVerifier } from "./ticket-token.ts";
