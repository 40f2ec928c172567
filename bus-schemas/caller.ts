import { z } from "zod";

/** Printable, without a space at either end, so that what is shown is what was said. Not a secret, and no content. */
const PartyId = z
  .string()
  .max(200)
  .regex(
    /^[^\p{C}\p{Z}]([^\p{C}\p{Zl}\p{Zp}]*[^\p{C}\p{Z}])?$/u,
    "1 to 200 printable characters, no space at either end",
  );

/** `agent`: a program that decides by itself what it asks for. */
export const PARTY_KINDS = ["user", "service", "agent"] as const;

/** Somebody, or some program, that is named. */
export const Party = z.object({ id: PartyId, kind: z.enum(PARTY_KINDS).default("user") });
export type Party = z.infer<typeof Party>;

/** A party as people write it: `alice`, `service:crm`. Whether it is one is for {@link Caller} to say. */
export function partyOf(text: string): { id: string; kind?: (typeof PARTY_KINDS)[number] } {
  const [word = ""] = text.split(":", 1);
  const kind = PARTY_KINDS.find((each) => each === word);
  return kind === undefined ? { id: text } : { id: text.slice(kind.length + 1), kind };
}

/** Parties of a delegation chain, at most. */
export const MAX_DELEGATION = 8;

/**
 * For whom a job is, as whoever submits it says: the broker vouches for a connection's key, not for these names. Nothing is
 * decided by it; it is recorded with the decision and the ending.
 */
export const Caller = Party.extend({
  /** Whom it acts for; that one for the next, and so on. */
  on_behalf_of: z.array(Party).max(MAX_DELEGATION).default([]),
  /** What kind of program said it. */
  declared_by: z.enum(["gateway", "client"]).default("client"),
  /** The ids are pseudonyms, made with salts that can be erased (service/salts.ts). */
  pseudonyms: z.boolean().default(false),
});
export type Caller = z.infer<typeof Caller>;
export type CallerInput = z.input<typeof Caller>;
