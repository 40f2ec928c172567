import { InvalidArgumentError } from "commander";
import type { SeenNode, SeenState } from "../../client/index.ts";

/** Which nodes are meant; what is left out does not matter, and of several values of one kind any counts. */
export interface NodeFilter {
  state?: string[];
  layer?: string[];
  /** All of them count: the key must be there, with this value if one is said. */
  label?: [key: string, value: string | undefined][];
  model?: string[];
  profile?: string[];
}

/** One more of a list: `site=Berlin`, or `site` for any value. @throws InvalidArgumentError */
export function wantedLabel(text: string, before: NodeFilter["label"] = []): NodeFilter["label"] {
  const at = text.indexOf("=");
  const key = at === -1 ? text : text.slice(0, at);
  if (key === "") throw new InvalidArgumentError("KEY=VALUE, or KEY for any value");
  return [...before, [key, at === -1 ? undefined : text.slice(at + 1)]];
}

/** States that may be asked for: as `tiermesh nodes` shows them, and `degraded`, which it shows as suspended. */
const STATES: readonly (SeenState | "degraded")[] = [
  "joining",
  "ready",
  "busy",
  "cordoned",
  "draining",
  "suspended",
  "degraded",
  "asleep",
  "left",
  "disconnected",
  "lost",
];

/** One more of a list of words. */
export function oneMore(text: string, before: string[] = []): string[] {
  return [...before, text];
}

/** One more of a list of words that are among these. @throws InvalidArgumentError */
export function oneMoreOf(words: readonly string[]): typeof oneMore {
  return (text, before) => {
    if (!words.includes(text)) throw new InvalidArgumentError(`one of ${words.join(", ")}`);
    return oneMore(text, before);
  };
}

export const oneMoreState = oneMoreOf(STATES);

/** Whether a node is meant. A model is meant with its tag or without: `llama3.2` is `llama3.2:latest`. */
export function isMeant({ record, state }: SeenNode, filter: NodeFilter): boolean {
  const { label = [] } = filter;
  return (
    (among(filter.state, state) || (state === "suspended" && among(filter.state, record.status))) &&
    among(filter.layer, record.layer) &&
    among(filter.profile, record.profile ?? "") &&
    label.every(
      ([key, value]) => Object.hasOwn(record.labels, key) && (value ?? record.labels[key]) === record.labels[key],
    ) &&
    (filter.model === undefined ||
      filter.model.some((wanted) => record.models.some((name) => name === wanted || name === `${wanted}:latest`)))
  );
}

function among(wanted: string[] | undefined, value: string): boolean {
  return wanted === undefined || wanted.includes(value);
}
