import { address, type Channel, type ChannelMessage } from "./channel.ts";
import {
  RegistryAdd,
  RegistryAsk,
  RegistryDecide,
  RegistryInvite,
  RegistryJoin,
  RegistryReader,
  RegistryReply,
  RegistryRevoke,
} from "./registry.ts";

const registryReply: ChannelMessage = {
  name: "RegistryReply",
  summary: "The entries as they are now, or why nothing changed.",
  schema: RegistryReply,
};

/** Who may join (ADR 0013, 0026); a part of `CHANNELS`. */
export const REGISTRY_CHANNELS: readonly Channel[] = [
  {
    name: "registryAdd",
    address: address((s) => s.registryAdd),
    from: "operator",
    to: "the broker's keeper",
    guarantee: "Request; one reply, when every server of the bus that this keeper serves knows the token.",
    messages: [{ name: "RegistryAdd", summary: "A machine that may join.", schema: RegistryAdd }],
    reply: [registryReply],
  },
  {
    name: "registryRevoke",
    address: address((s) => s.registryRevoke),
    from: "operator",
    to: "the broker's keeper",
    guarantee: "Request; one reply, when the broker has cut the node's connections.",
    messages: [{ name: "RegistryRevoke", summary: "A node that may no longer speak.", schema: RegistryRevoke }],
    reply: [registryReply],
  },
  {
    name: "registryList",
    address: address((s) => s.registryList),
    from: "operator",
    to: "the broker's keeper",
    guarantee: "Request with an empty body; one reply.",
    messages: [],
    reply: [registryReply],
  },
  {
    name: "registryReader",
    address: address((s) => s.registryReader),
    from: "operator",
    to: "the broker's keeper",
    guarantee: "Request; one reply, when the consumer is there and the broker knows the reader's key.",
    messages: [{ name: "RegistryReader", summary: "Who may read which events.", schema: RegistryReader }],
    reply: [registryReply],
  },
  {
    name: "registryJoin",
    address: address((s) => s.registryJoin("_node_")),
    from: "holder of a join token",
    to: "the broker's keeper",
    guarantee: "Request; one reply, when the broker knows the node's key. A token is good once.",
    messages: [{ name: "RegistryJoin", summary: "The node's own public key.", schema: RegistryJoin }],
    reply: [registryReply],
  },
  {
    name: "registryInvite",
    address: address((s) => s.registryInvite),
    from: "operator",
    to: "the broker's keeper",
    guarantee: "Request; one reply. The invitation before is good no more.",
    messages: [
      { name: "RegistryInvite", summary: "By whose key machines may ask; null = none.", schema: RegistryInvite },
    ],
    reply: [registryReply],
  },
  {
    name: "registryAsk",
    address: address((s) => s.registryAsk),
    from: "holder of an invitation",
    to: "the broker's keeper",
    guarantee: "Request; one reply, which says what has become of it: asked again it changes nothing.",
    messages: [{ name: "RegistryAsk", summary: "A machine that would like to be let in.", schema: RegistryAsk }],
    reply: [registryReply],
  },
  {
    name: "registryDecide",
    address: address((s) => s.registryDecide),
    from: "operator",
    to: "the broker's keeper",
    guarantee: "Request; one reply, when the broker knows the node's key, or never will.",
    messages: [{ name: "RegistryDecide", summary: "Yes or no to a machine that asks.", schema: RegistryDecide }],
    reply: [registryReply],
  },
];
