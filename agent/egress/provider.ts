import type { ApiKind } from "./api-kinds.ts";

/** Price per 1,000 tokens, in the provider's currency. */
export interface Price {
  input: number;
  output: number;
  /** Of prompt tokens from the provider's prefix cache. */
  cachedInput: number;
}

/** One model of a provider. */
export interface CloudModel {
  /** As the mesh calls it. */
  name: string;
  /** As the provider calls it. */
  upstream: string;
  contextLengthTokens: number | null;
  /** Asked for when a job names no bound and the API wants one. */
  maxOutputTokens: number;
  /** Name of the parameter that bounds an answer. */
  maxTokensField: "max_tokens" | "max_completion_tokens";
  capabilities: string[];
  /** undefined = the policy's registry may know one. */
  price: Price | undefined;
}

/** Where a key is read from: exactly one of the two. */
export interface KeySource {
  variable?: string | undefined;
  /** Absolute path. */
  file?: string | undefined;
}

/** A provider as its file describes it, all presets applied. Holds no key. */
export interface Provider {
  name: string;
  kind: ApiKind;
  /** Without a trailing slash. */
  baseUrl: string;
  key: KeySource;
  models: CloudModel[];
  maxConcurrency: number;
  /** Longest silence: until the head of the answer, and between two signs of life after it. */
  timeoutMs: number;
  headers: Record<string, string>;
  /** ISO 4217. */
  currency: string;
  /** Whose law it answers under, by its file or its documentation; null = not known. */
  jurisdiction: string | null;
  /** PEM file of a certificate authority of your own, absolute path. */
  caFile: string | undefined;
}
