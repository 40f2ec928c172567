import type { Option, Policy } from "./types.ts";

const TEXT: readonly string[] = ["text", "chat"];

/** What a model can do: what its runtime says and what the registry says of it. */
export function capabilitiesOf({ served }: Option, policy: Policy): readonly string[] {
  const registered = policy.models.get(served.name)?.capabilities;
  if (registered === undefined) return served.capabilities.length === 0 ? TEXT : served.capabilities;
  return served.capabilities.length === 0 ? [...TEXT, ...registered] : [...served.capabilities, ...registered];
}
