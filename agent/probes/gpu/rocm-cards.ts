import { at, readJson } from "../tool.ts";
import { amount, CELSIUS, GB, RATIO, WATTS, type GpuFacts } from "./facts.ts";

/** What is asked of rocm-smi, and of Hygon's hy-smi, which comes from it. */
export const CARDS_ARGS = [
  "--showproductname",
  "--showuniqueid",
  "--showbus",
  "--showuse",
  "--showmeminfo",
  "vram",
  "--showtemp",
  "--showpower",
  "--json",
];

/**
 * Reads the JSON of rocm-smi and hy-smi: `{ "card0": { "GPU use (%)": "0", … } }`. The unit stands in the key's brackets. hy-smi says "DCU" or
 * "HCU" for "GPU", and some of its versions leave out commas between two entries.
 */
export function gpusOfCards(tool: string, stdout: string): GpuFacts[] {
  const answer = readJson(tool, stdout.replace(/"[ \t]*"(?=[A-Za-z])/g, '","'));
  const cards = typeof answer === "object" && answer !== null ? Object.entries(answer) : [];
  return cards.flatMap(([key, card]) => {
    const index = /^card(\d{1,3})$/.exec(key)?.[1];
    return index === undefined ? [] : [readCard(Number(index), card)];
  });
}

function readCard(index: number, card: unknown): GpuFacts {
  const entries = Object.entries(typeof card === "object" && card !== null ? card : {});
  /** The value of the first key that fits, with the unit in the key's last brackets. */
  const read = (units: Readonly<Record<string, number>>, ...keys: RegExp[]): number | null => {
    for (const key of keys) {
      for (const [name, value] of entries) {
        const found = key.test(name) ? amount(value, units, /\(([^()]+)\)\s*$/.exec(name)?.[1]) : null;
        if (found !== null) return found;
      }
    }
    return null;
  };
  return {
    index,
    uuid: at(card, "Unique ID"),
    name: at(card, "Card Series") ?? at(card, "Card series") ?? at(card, "Card Model") ?? at(card, "Card model"),
    address: at(card, "PCI Bus"),
    totalGb: read(GB, /^vram total memory/i),
    usedGb: read(GB, /^vram total used memory/i),
    utilization: read(RATIO, /^[gdh][pc]u use \(/i),
    // The junction is the hottest place; older cards have only an edge sensor.
    celsius: read(CELSIUS, /sensor junction/i, /sensor edge/i, /sensor core/i),
    watts: read(WATTS, /^(?:average|current socket) graphics package power/i),
  };
}
