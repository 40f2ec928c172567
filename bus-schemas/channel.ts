import type { z } from "zod";
import type { DataClass, Layer } from "./classes.ts";
import { subjects, type Subjects } from "./subjects.ts";

/** A message of a channel: its body's schema and a sentence about it. */
export interface ChannelMessage {
  name: string;
  summary: string;
  schema: z.ZodType;
  /** `cloudevent`: CloudEvents attributes in `ce-*` headers. `job`, `sealed`: the Mesh-* headers of a dispatched job. */
  headers?: "cloudevent" | "job" | "frame" | "sealed";
}

/** One line of the bus contract (DESIGN §2). */
export interface Channel {
  name: string;
  /** Address with `{parameters}`, spelled by `subjects()`. */
  address: string;
  from: string;
  to: string;
  /** What a sender may rely on. */
  guarantee: string;
  messages: readonly ChannelMessage[];
  /** What comes back to the sender's reply inbox. */
  reply?: readonly ChannelMessage[];
  /** Name of the channel that the answer comes on, where that is no inbox. */
  replyOn?: string;
}

/** `subjects()` called with `_name_` in each place; `address()` turns those into `{name}`. */
const spelled = subjects("_cell_");
/** The places whose type is narrower than a token, for the same use. */
export const LAYER = "_layer_" as Layer;
export const CLASS = "_class_" as DataClass;

export function address(spell: (s: Subjects) => string): string {
  return spell(spelled).replace(/_([a-z]+)_/g, "{$1}");
}
