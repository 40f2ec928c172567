import { z } from "zod";

/** HMAC-SHA-256 of a content by a salt that is in no event: it says nothing to who has not the salt (ADR 0028, 0031). */
export const Commitment = z.string().regex(/^hmac-sha256:[0-9a-f]{64}$/, "hmac-sha256: and 64 hex digits");

/**
 * What a run was given, and what it wrote, as its node commits to it; all by the job's one salt. What a run did not have is
 * left out.
 */
export const Commitments = z.object({
  /** The job brought the salt, or its node made it and handed it over with the answer's end. */
  salt_from: z.enum(["caller", "node"]),
  /** Canonical JSON (RFC 8785) of the fields of the job that are `INPUT_FIELDS`, as the node received them. */
  input_hmac: Commitment.optional(),
  /** The text that this run wrote, as far as it came; of a task without text canonical JSON of its output. */
  answer_hmac: Commitment.optional(),
  /** Of an answer that another node began: the whole text, with what this node was told had been written before. */
  whole_answer_hmac: Commitment.optional(),
  /** Canonical JSON of the tool calls, as the message has them. */
  tool_calls_hmac: Commitment.optional(),
  /** The body of the request to a cloud provider, byte for byte. */
  egress_hmac: Commitment.optional(),
});
export type Commitments = z.infer<typeof Commitments>;
