import { InvalidArgumentError } from "commander";
import { Label, LabelKey, LabelValue } from "../../bus-schemas/index.ts";

/** A text for people: a reason, a name. */
export function label(text: string): string {
  if (!Label.safeParse(text).success) throw new InvalidArgumentError("1 to 200 characters");
  return text;
}

/** By key; null takes a label away. */
export type LabelChanges = Readonly<Record<string, string | null>>;

/** One more of a list: `site=Berlin` sets a label, `site-` takes it away (as kubectl has it). @throws InvalidArgumentError */
export function labelChange(text: string, before: LabelChanges = {}): LabelChanges {
  const at = text.indexOf("=");
  const [key, value] = at === -1 ? [text.replace(/-$/, ""), null] : [text.slice(0, at), text.slice(at + 1)];
  if (at === -1 && !text.endsWith("-")) throw new InvalidArgumentError(`${text}: KEY=VALUE, or KEY- to take it away`);
  if (!LabelKey.safeParse(key).success)
    throw new InvalidArgumentError(`${key}: a key is letters, digits, and between them . _ / and -, at most 60`);
  if (value !== null && !LabelValue.safeParse(value).success)
    throw new InvalidArgumentError(`${key}: a value has at most 200 characters`);
  if (Object.hasOwn(before, key)) throw new InvalidArgumentError(`${key} is named twice`);
  return { ...before, [key]: value };
}
