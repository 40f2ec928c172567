import type { Random } from "../../cli/simulate/random.ts";

/** What a place that may declare a job's class says, by the rules of DESIGN §1 and §2 and not by any code of the product. */
export type Says = "P2" | "nothing" | "strict";

/** All places together: only what says P2 somewhere, and nothing else anywhere, may leave the house. */
export function mayLeave(places: readonly Says[]): boolean {
  return places.includes("P2") && !places.includes("strict");
}

export function pick<T>(random: Random, list: readonly T[]): T {
  return list[Math.floor(random() * list.length)] as T;
}

const ZERO_WIDTH = ["\u200b", "\u200c", "\u200d", "\u2060", "\ufeff", "\u00ad", "\u202e", "\u180e", "\u034f"];
/** Letters and digits that look like others. */
const LOOK_ALIKES: Readonly<Record<string, readonly string[]>> = {
  P: ["\u0420", "\u03a1", "\uff30", "\u{1d40f}", "\u2119", "\u24c5", "\u1d18", "p", "P\u0301"],
  "0": ["O", "o", "\u041e", "\u039f", "\uff10", "\u0660", "\u{1d7ce}", "\u2070", "\u0966", "0\u0338"],
  "1": ["l", "I", "|", "\uff11", "\u0661", "\u{1d7cf}", "\u00b9", "\u2460", "\u0406"],
  "2": ["\uff12", "\u0662", "\u{1d7d0}", "\u00b2", "\u01a7", "Z"],
};

type Twist = (word: string, random: Random) => string;
const TWISTS: readonly Twist[] = [
  (word) => word.toLowerCase(),
  (word, random) => Array.from(word, (char) => pick(random, LOOK_ALIKES[char] ?? [char])).join(""),
  (word, random) => word.replace(/./u, (char) => pick(random, LOOK_ALIKES[char] ?? [char])),
  (word, random) => Array.from(word).join(pick(random, ZERO_WIDTH)),
  (word, random) => pick(random, ZERO_WIDTH) + word,
  (word, random) => word + pick(random, ZERO_WIDTH),
  (word, random) => Array.from(word).join(pick(random, [" ", "\t", "-", "_", ".", "\u00a0", "\u2009"])),
  (word) => ` ${word}`,
  (word) => `${word}\t`,
  (word) => `"${word}"`,
  (word) => `\u0000${word}`,
  (word) => `${word}\u0000P2`,
  (word) => `P2\u0000${word}`,
  (word) => `P2\n${word}`,
  (word) => `P2\nMesh-Class: ${word}`,
  (word) => `${word},P2`,
  (word) => `P2, ${word}`,
  (word) => `P2;${word}`,
  (word) => `P2 ${word}`,
  (word) => `${word}\\u0000`,
  (word) => encodeURIComponent(`\u0000${word}`),
  (word) => `&#80;${word.slice(1)}`,
  (word) => `class=${word}`,
  (word) => `["${word}"]`,
  (word) => word + word,
  (word) => word.repeat(40),
  (word) => `${word}${" ".repeat(3000)}x`,
  (word) => Array.from(word).toReversed().join(""),
  (word) => Buffer.from(word).toString("base64"),
];
/** No class, and nothing that looks like one. */
const NO_CLASSES = ["general", "public", "P3", "P", "2", "null", "undefined", "true", "*", ">", "L2", "\ud83d\ude00"];

/** A text that is no class, whatever it was made from; white space around it does not make it one. */
function noClass(random: Random): string {
  for (;;) {
    const word =
      random() < 0.15 ? pick(random, NO_CLASSES) : pick(random, TWISTS)(pick(random, ["P0", "P0", "P1", "P2"]), random);
    const twice = random() < 0.2 ? pick(random, TWISTS)(word, random) : word;
    if (!["P0", "P1", "P2", ""].includes(twice.trim())) return twice;
  }
}

/** A class as somebody may write it, in a header or as a text in a body, and what that says. */
export function anyClass(random: Random): { text: string; says: Says } {
  const dice = random();
  if (dice < 0.3) return { text: "P2", says: "P2" };
  if (dice < 0.6) return { text: pick(random, ["P0", "P1"]), says: "strict" };
  return { text: noClass(random), says: "strict" };
}

const NAMES = ["Mesh-Class", "mesh-class", "MESH-CLASS", "mesh-Class", "Mesh-class"];

/** Headers that declare a class: none, one, or several under names that differ in their casing, in any order. */
export function anyClassHeaders(random: Random): { headers: [string, string][]; says: Says } {
  const dice = random();
  if (dice < 0.25) return { headers: [], says: "nothing" };
  if (dice < 0.3) return { headers: [[pick(random, NAMES), pick(random, ["", " ", "\t"])]], says: "nothing" };
  if (dice < 0.8) {
    const { text, says } = anyClass(random);
    return { headers: [[pick(random, NAMES), text]], says };
  }
  // Two are never one clear word, though both say the same.
  const headers = Array.from({ length: dice < 0.95 ? 2 : 5 }, (): [string, string] => [
    pick(random, NAMES),
    anyClass(random).text,
  ]);
  return { headers, says: "strict" };
}

/** A body's `security_level`, which may be no text at all; undefined = it has none. */
export function anyLevel(random: Random): { level: unknown; says: Says } {
  const dice = random();
  if (dice < 0.25) return { level: undefined, says: "nothing" };
  if (dice < 0.3) return { level: "", says: "nothing" };
  if (dice < 0.85) {
    const { text, says } = anyClass(random);
    return { level: text, says };
  }
  const odd: unknown[] = [
    0,
    2,
    -0,
    1e308,
    true,
    false,
    null,
    [],
    ["P2"],
    ["P0"],
    {},
    { P2: true },
    { toString: "P2" },
    [["P2"]],
  ];
  return { level: pick(random, [...odd, "P2".padEnd(65), "P0".repeat(5000)]), says: "strict" };
}
