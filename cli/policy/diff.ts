import { fieldPath, type RoutingConfig } from "../../bus-schemas/index.ts";

/** One setting that differs. Undefined = not there. */
export interface PolicyChange {
  path: string;
  from: unknown;
  to: unknown;
}

/** What differs between two policies, with everything that they leave out filled in; comments and order do not count. */
export function diffPolicies(from: RoutingConfig, to: RoutingConfig): PolicyChange[] {
  const [before, after] = [flatten(from), flatten(to)];
  const changes: PolicyChange[] = [];
  for (const path of new Set([...before.keys(), ...after.keys()])) {
    const [a, b] = [before.get(path), after.get(path)];
    if (JSON.stringify(a) !== JSON.stringify(b)) changes.push({ path, from: a, to: b });
  }
  return changes;
}

/** The settings by their paths. A list of plain values is one setting. */
function flatten(config: RoutingConfig): Map<string, unknown> {
  const settings = new Map<string, unknown>();
  const walk = (value: unknown, path: PropertyKey[]) => {
    const nested = typeof value === "object" && value !== null;
    const plain = Array.isArray(value) && value.every((item) => typeof item !== "object");
    if (!nested || plain) return void settings.set(fieldPath(path), value);
    if (Array.isArray(value)) value.forEach((item, i) => walk(item, [...path, i]));
    else for (const [key, item] of Object.entries(value)) walk(item, [...path, key]);
  };
  walk(config, []);
  return settings;
}

/** `path: from → to`, or with + and - where a setting comes or goes. */
export function changeLine({ path, from, to }: PolicyChange): string {
  if (from === undefined) return `+ ${path}: ${JSON.stringify(to)}`;
  if (to === undefined) return `- ${path}: ${JSON.stringify(from)}`;
  return `~ ${path}: ${JSON.stringify(from)} → ${JSON.stringify(to)}`;
}
