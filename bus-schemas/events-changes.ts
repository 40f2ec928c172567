import { z } from "zod";
import { Label, ModelName, NodeId, Ratio, SubjectToken } from "./units.ts";

/** Beyond any bound of a single field. */
const Total = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);

/** Changes of models' quality in one event, at most: it must fit a tile of the log. */
export const MAX_QUALITY_CHANGES = 50;

/** Keys that this mesh makes by itself. */
export const KEY_ROLES = ["router_signing", "node_sealing"] as const;

/** What was taken out of the mesh: entries of the log, a proof about it, the list of machines, receipts of jobs. */
export const EXPORT_KINDS = ["entries", "proof", "inventory", "receipts"] as const;
export const ExportKind = z.enum(EXPORT_KINDS);
export const Sha256Hex = z.string().regex(/^[0-9a-f]{64}$/, "64 hex digits");

/** Who changed what the mesh goes by, and what left it; a part of `EVENTS`. */
export const CHANGE_EVENTS = {
  quality_changed: {
    by: ["router"],
    ofJob: false,
    summary:
      "A router counts these scores of models from now on, because the table on the bus changed, or because it started.",
    data: z.object({
      /** Of the table, up to which it was read. */
      revision: Total,
      /** Scores that count now, in all. */
      scores: Total,
      /** At a router's start: all that count. Oldest first. */
      changes: z
        .array(
          z.object({
            revision: Total,
            task_type: SubjectToken,
            model: ModelName,
            /** Null: taken back, the default counts again. */
            score: Ratio.nullable(),
            samples: Total.nullable(),
            /** Who or what says so, as the entry has it. */
            source: Label.nullable(),
            /** Who wrote it, as that person's program says; null = an older one, or another program. */
            by: Label.nullable(),
          }),
        )
        .max(MAX_QUALITY_CHANGES),
      /** Changes for which there was no room. */
      left_out: Total,
      started: z.boolean(),
    }),
  },
  key_changed: {
    by: ["router", "agent"],
    ofJob: false,
    summary: "A process has a new key: a router one that it signs tickets with, or a node one that jobs are sealed to.",
    data: z.object({
      role: z.enum(KEY_ROLES),
      /** Whose it is. */
      node_id: NodeId.nullable(),
      router_id: SubjectToken.nullable(),
      key_id: SubjectToken,
      /** Of the public half, as people compare it. */
      fingerprint: z.string().max(64),
      /** Null: its first since it started. */
      previous_key_id: SubjectToken.nullable(),
    }),
  },
  record_exported: {
    by: ["auditor"],
    ofJob: false,
    summary:
      "Something was taken out of the mesh as a file: entries of the record, a proof, an inventory; receipts are counted, one event a minute.",
    data: z.object({
      kind: ExportKind,
      /** As that person's program says; null of receipts. */
      by: Label.nullable(),
      /** What was asked for: a filter, a claim and its time. */
      what: Label.nullable(),
      /** Entries, machines or receipts. */
      count: Total,
      /** Of the file, where the program made one. */
      sha256: Sha256Hex.nullable(),
    }),
  },
} as const;

/** An operator's program says what it took out (`audit.export`); the auditor records it. */
export const ExportNote = z.object({
  kind: ExportKind.exclude(["receipts"]),
  by: Label,
  what: Label,
  count: Total,
  sha256: Sha256Hex.nullable().default(null),
});
export type ExportNote = z.infer<typeof ExportNote>;
export type ExportNoteInput = z.input<typeof ExportNote>;
