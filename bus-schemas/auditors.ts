import { z } from "zod";
import { Count } from "./units.ts";

/** The auditors of a mesh by name: one writes, the other follows and takes over (ADR 0027). */
export const AUDITORS = ["auditor", "auditor-2"] as const;
export type AuditorName = (typeof AUDITORS)[number];

/** How far the log is agreed on and who may take it further: the one value in the bucket of the auditors. */
export const LogHead = z.object({
  v: z.literal(1),
  /** Whose turn it is. */
  auditor: z.enum(AUDITORS),
  /** Its folder's own id: the same process started again need not wait. */
  holder: z.string().min(1).max(100),
  /** Name of the log's key. */
  origin: z.string().min(1).max(300),
  /** Entries of the tree. */
  size: Count.max(Number.MAX_SAFE_INTEGER),
  /** The root over them, base64. */
  root: z.string().length(44),
});
export type LogHead = z.infer<typeof LogHead>;
