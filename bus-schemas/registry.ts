import { z } from "zod";
import { Layer } from "./classes.ts";
import { WireError } from "./errors.ts";
import { Label, NodeId, UnixMs } from "./units.ts";

/**
 * Which nodes may speak on the bus (ADR 0013): an operator adds one, its machine joins by a token, an operator revokes it. Or machines
 * ask by an invitation that many share, and an operator approves each (ADR 0026).
 */

/** Public half of a NATS user's nkey: "U" and 55 characters of base32. */
export const UserKey = z.string().regex(/^U[A-Z2-7]{55}$/, "a NATS user's public nkey");

/** A join token is good for this long unless said otherwise, and at most so long, hours. */
export const JOIN_HOURS = { usual: 24, most: 168 } as const;

/** Machines that wait for an operator at a time: more are told to come again. */
export const MAX_ASKING = 256;
/** An ask that nobody decided is forgotten after this time, milliseconds. */
export const ASK_KEPT_MS = 7 * 24 * 3_600_000;
/** For so long after its end an invitation still tells those who asked by it what became of them, milliseconds. */
export const INVITATION_ECHO_MS = 24 * 3_600_000;

export const NODE_STATES = ["pending", "joined", "revoked"] as const;

/** Which events a reader gets: `TYPE` or `TYPE.CLASS`, each a word or `*`; class `none` is that of events about no job. */
export const EventFilter = z
  .string()
  .regex(/^([a-z_]{1,64}|\*)(\.(P0|P1|P2|none|\*))?$/, "TYPE or TYPE.CLASS, such as job_ended or *.P0");

/** A node as the registry knows it, or a reader of events; no secret is in it. */
export const NodeEntry = z.object({
  node_id: NodeId,
  layer: Layer,
  /** pending: a token is out, or the machine asked by an invitation and waits (then `public_key` is there). joined: its key is known to the broker. revoked: it is not any more. */
  state: z.enum(NODE_STATES),
  /** Of the token's own bus user, who may do nothing but join; null when no token is out. */
  join_key: UserKey.nullable(),
  join_expires_unix_ms: UnixMs.nullable(),
  /** Of the node's own bus user. */
  public_key: UserKey.nullable(),
  /** Who changed it last, and why. */
  by: Label,
  reason: Label.nullable(),
  changed_unix_ms: UnixMs,
  /** What a machine that asked calls itself; nobody has checked it. */
  hostname: Label.nullable().default(null),
  /** Of a reader, who is no node and whose `layer` says nothing: the events that it gets. */
  reads: z.array(EventFilter).min(1).max(32).optional(),
});
export type NodeEntry = z.infer<typeof NodeEntry>;

/** Body of `registry.add`: the secret half of the token's key stays with who asks. */
export const RegistryAdd = z.object({
  node_id: NodeId,
  layer: Layer,
  join_key: UserKey,
  /** Hours that the token is good for. */
  hours: z.number().min(0.001).max(JOIN_HOURS.most).default(JOIN_HOURS.usual),
  /** The node is in the mesh already: its old key is revoked at once. */
  replace: z.boolean().default(false),
  by: Label,
});

/** Body of `registry.reader`: a durable consumer of the stream of events, and somebody who may read by it and nothing else. */
export const RegistryReader = z.object({
  /** Of the reader and of its consumer. */
  name: NodeId,
  public_key: UserKey,
  reads: z.array(EventFilter).min(1).max(32),
  /** All that the stream still has, or what comes from now on. */
  from: z.enum(["start", "now"]).default("now"),
  by: Label,
});

/** Body of `registry.revoke`. */
export const RegistryRevoke = z.object({ node_id: NodeId, by: Label, reason: Label.nullable().default(null) });

/** Body of `registry.join.<node>`; that it is the token's holder who asks, the broker has checked. */
export const RegistryJoin = z.object({ public_key: UserKey });

/** By whose key machines may ask to be let in; its secret half is in a token that many machines share. */
export const Invitation = z.object({
  invite_key: UserKey,
  layer: Layer,
  /** Nobody new may ask after this. */
  expires_unix_ms: UnixMs,
  by: Label,
});
export type Invitation = z.infer<typeof Invitation>;

/** Body of `registry.invite`: takes the place of the invitation before; null ends it. */
export const RegistryInvite = z.object({
  invitation: z
    .object({
      invite_key: UserKey,
      // A way out of the house is not given to whoever asks.
      layer: z.enum(["L0", "L1"]),
      hours: z.number().min(0.001).max(JOIN_HOURS.most).default(JOIN_HOURS.usual),
    })
    .nullable(),
  by: Label,
});

/** Body of `registry.ask`, of a machine with an invitation; asked again it says what has become of it. */
export const RegistryAsk = z.object({ node_id: NodeId, public_key: UserKey, hostname: Label.nullable().default(null) });

/** Body of `registry.decide`: the key is the one that the operator has seen, so that no other is let in by it. */
export const RegistryDecide = z.object({
  node_id: NodeId,
  public_key: UserKey,
  approve: z.boolean(),
  /** Another layer than the invitation's. */
  layer: Layer.optional(),
  by: Label,
  reason: Label.nullable().default(null),
});

/** What the keeper answers to all of them; the parts that a request asks for are there, or `error` is. */
export const RegistryReply = z.object({
  entries: z.array(NodeEntry).max(10_000).default([]),
  /** Addresses of the bus for other machines. */
  urls: z.array(z.string().max(300)).max(16).default([]),
  /** Authority of the bus's certificates, PEM. */
  ca_pem: z.string().max(20_000).nullable().default(null),
  error: WireError.nullable().default(null),
});
export type RegistryReply = z.infer<typeof RegistryReply>;
