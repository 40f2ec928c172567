import type { RuntimeRecord } from "../../bus-schemas/index.ts";

/** How many jobs runtimes run at once, where somebody knows better than they tell. */
export interface SlotSettings {
  /** Every runtime that is not in `by`. */
  all: number | undefined;
  /** By the name or kind of a runtime. */
  by: ReadonlyMap<string, number>;
}

const MOST = 10_000;

/** What a runtime's slots are: what was configured for it, for its kind or for all, else its own word; `most` is never passed. */
export function slotsOf(
  { name, kind, slots }: Pick<RuntimeRecord, "name" | "kind" | "slots">,
  { all, by }: SlotSettings,
  most: number | null,
): number {
  // A runtime that tells 0 can run nothing now, whatever is configured.
  const own = slots === 0 ? 0 : (by.get(name) ?? by.get(kind) ?? all ?? slots);
  return most === null ? own : Math.min(own, most);
}

/** Slots of which only a share may be used; one is left, for what must take nothing is closed, not small. */
export function shareOf(slots: number, share: number): number {
  return slots === 0 ? 0 : Math.max(1, Math.floor(slots * share));
}

/** `4`, `ollama=4,vllm-8000=32`, or both: `2,ollama=4`. @returns undefined when it is written otherwise */
export function parseSlots(text: string): SlotSettings | undefined {
  let all: number | undefined;
  const by = new Map<string, number>();
  for (const entry of text.split(",").map((part) => part.trim())) {
    const found = /^(?:([A-Za-z0-9_-]{1,64})\s*=\s*)?([1-9]\d{0,4})$/.exec(entry);
    const slots = Number(found?.[2]);
    if (!(slots <= MOST)) return undefined;
    const name = found?.[1];
    if (name === undefined ? all !== undefined : by.has(name)) return undefined;
    if (name === undefined) all = slots;
    else by.set(name, slots);
  }
  return { all, by };
}
