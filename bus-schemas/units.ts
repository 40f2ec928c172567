import { z } from "zod";

/** Building blocks that carry a unit and a sane bound, so that a lying or broken sender is refused by field name. */

/** Duration in milliseconds, at most 30 days. */
export const Ms = z.number().min(0).max(2_592_000_000);
/** Absolute moment, milliseconds since the Unix epoch (year 2001 to 2286). */
export const UnixMs = z.number().int().min(1_000_000_000_000).max(9_999_999_999_999);
/** ISO 8601 moment in UTC, as SEED's `last_heartbeat`. */
export const IsoTime = z.iso.datetime({ offset: true });
/** Gigabytes (2^30 bytes), at most 1 PB. */
export const Gb = z.number().min(0).max(1_048_576);
/** Bytes of a file. */
export const Bytes = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);
/** A share between 0 and 1. */
export const Ratio = z.number().min(0).max(1);
/** Count of tokens. */
export const Tokens = z.number().int().min(0).max(100_000_000);
/** Tokens per second. */
export const GbPerSecond = z.number().min(0).max(100_000);
export const TokensPerSecond = z.number().min(0).max(10_000_000);
/** Degrees Celsius. */
export const Celsius = z.number().min(-60).max(250);
/** Electrical power in watts. */
export const Watts = z.number().min(0).max(100_000);
/** Energy in joules; 3,600,000 of them are a kWh. */
export const Joules = z.number().min(0).max(1e15);
/** Electrical energy in watt-hours, a thousandth of a kWh. */
export const WattHours = z.number().min(0).max(1e9);
/** Duration in seconds, where a tool counts so. */
export const Seconds = z.number().min(0).max(1e9);
/** Count of things: slots, jobs, cores. */
export const Count = z.number().int().min(0).max(1_000_000);
/** Short text for people: names, reasons. Never content of a job. */
export const Label = z.string().min(1).max(200);

/** The key of a node's label, as `site` or `team/name`. */
export const LabelKey = z
  .string()
  .regex(
    /^[A-Za-z0-9]([A-Za-z0-9._/-]{0,58}[A-Za-z0-9])?$/,
    "letters, digits, and between them . _ / and -, at most 60",
  );
export const LabelValue = z.string().max(200);
/** Labels of one node: each of its heartbeats carries them. */
export const MAX_LABELS = 64;

/** One token of a NATS subject: no dots, no wildcards, no spaces. */
export const SubjectToken = z.string().regex(/^[A-Za-z0-9_-]{1,64}$/, "letters, digits, _ and -, 1 to 64 characters");
export const NodeId = SubjectToken;
/** 32 bytes of an X25519 or Ed25519 public key, base64url without padding; a key has one spelling. */
export const KeyBytes = z.string().regex(/^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$/, "32 bytes as base64url");
/** ULID in Crockford base32, or any caller-chosen subject token of 8 to 64 characters. */
export const JobId = z.string().regex(/^[A-Za-z0-9_-]{8,64}$/, "8 to 64 letters, digits, _ and -");
/** A country as ISO 3166-1 writes it with two letters: whose law what happens there is under. */
export const Jurisdiction = z.string().regex(/^[A-Z]{2}$/, "an ISO 3166-1 code of two letters, such as CN or DE");
/** SHA-256 of what a model is made of, as its runtime counts it: Ollama of the manifest, ours of the file. */
export const ModelDigest = z.string().regex(/^sha256:[0-9a-f]{64}$/, "sha256: and 64 hex digits");
/** A model's name as its runtime spells it. */
export const ModelName = z.string().min(1).max(200);
