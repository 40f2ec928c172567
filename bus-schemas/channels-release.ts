import { z } from "zod";
import { address, type Channel, type ChannelMessage } from "./channel.ts";
import { WireError } from "./errors.ts";
import { Release, ReleaseGet, UpgradeLock } from "./release.ts";

const chunk: ChannelMessage = {
  name: "ReleaseChunk",
  summary: "A piece of a program.",
  schema: z.string().describe("Binary."),
};

/** Releases of the agent (ADR 0030); a part of `CHANNELS`. */
export const RELEASE_CHANNELS: readonly Channel[] = [
  {
    name: "release",
    address: address((s) => s.release("_version_")),
    from: "operator",
    to: "JetStream stream RELEASES",
    guarantee: "Stored until an operator removes it; written after all of its files' pieces.",
    messages: [{ name: "Release", summary: "A version, and the signed program for each system.", schema: Release }],
  },
  {
    name: "releaseChunk",
    address: address((s) => s.releaseChunk("_file_", "_chunk_")),
    from: "operator",
    to: "JetStream stream RELEASES",
    guarantee: "Stored until an operator removes its release. 256 KiB each, the last one of a file what is left.",
    messages: [chunk],
  },
  {
    name: "releaseGet",
    address: address((s) => s.releaseGet("_node_")),
    from: "agent",
    to: "the broker's keeper (one of a queue group)",
    guarantee: "Request; one reply: the bytes, or a JSON body with an error.",
    messages: [{ name: "ReleaseGet", summary: "One piece of a program, please.", schema: ReleaseGet }],
    reply: [chunk, { name: "ReleaseRefused", summary: "Why not, as JSON.", schema: z.object({ error: WireError }) }],
  },
  {
    name: "upgradeLock",
    address: address((s) => s.upgradeLock),
    from: "operator",
    to: "JetStream stream RELEASES",
    guarantee: "Written by compare-and-set; it counts until the moment that it names.",
    messages: [{ name: "UpgradeLock", summary: "Who upgrades the fleet now.", schema: UpgradeLock }],
  },
];
