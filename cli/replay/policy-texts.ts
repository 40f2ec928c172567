import { EVENTS, type AuditEntry } from "../../bus-schemas/index.ts";
import { compilePolicy } from "../../router/policy/policy.ts";
import type { Policy } from "../../router/policy/types.ts";
import { parseRoutingConfig, textSha256 } from "../../service/routing-config.ts";

/** A place where texts of policies may lie, looked at only when those before it did not have what was sought. */
export type PolicySource = () => Promise<Iterable<string>>;

/** Finds policies by the SHA-256 of their text; whoever hands over a text cannot pass it off as another. */
export class PolicyTexts {
  readonly #texts = new Map<string, string>();
  readonly #compiled = new Map<string, Policy>();
  readonly #sources: PolicySource[];

  constructor(sources: readonly PolicySource[]) {
    this.#sources = [...sources];
  }

  /** @returns undefined when no source has it. @throws MeshError `bad_config` when this build cannot read it. */
  async find(sha256: string): Promise<Policy | undefined> {
    const known = this.#compiled.get(sha256);
    if (known !== undefined) return known;
    while (!this.#texts.has(sha256)) {
      const source = this.#sources.shift();
      if (source === undefined) return undefined;
      for (const text of await source()) this.#texts.set(textSha256(text), text);
    }
    const name = `policy ${sha256.slice(0, 12)}`;
    const policy = compilePolicy(parseRoutingConfig(this.#texts.get(sha256) ?? "", name), name, sha256);
    this.#compiled.set(sha256, policy);
    return policy;
  }
}

/** The text that a router put into the log when it began to decide by it. */
export function textOf(entry: Pick<AuditEntry, "type" | "data">): string | undefined {
  if (entry.type !== "policy_changed") return undefined;
  return EVENTS.policy_changed.data.safeParse(entry.data).data?.text ?? undefined;
}
