import type { Option, Policy } from "./types.ts";

const TEXT: readonly string[] = ["text", "chat"];

/** What a model can do: what its runtime says and what the registry says of it. */
export function capabilitiesOf({ served }: Option, policy: Policy): readonly string[] {
  const registered = policy.models.get(served.name)?.capabilities;
  const told = served.capabilities.length === 0 ? TEXT : served.capabilities;
  return registered === undefined ? told : [...told, ...registered];
}

/** Tokens that fit a model's context, by its runtime, else by the registry; undefined = unknown. */
export function contextWindow({ served }: Option, policy: Policy): number | undefined {
  return served.context_length ?? policy.models.get(served.name)?.requirements.context_length;
}
