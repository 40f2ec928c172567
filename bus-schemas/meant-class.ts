/** Nobody writes a class in more characters; what is behind them is not looked at. */
const MAX_CHARS = 1024;

/** Characters that look like P, 0 or 1, and that compatibility decomposition does not turn into them. */
const CONFUSABLES: ReadonlyMap<string, string> = new Map(
  Object.entries({
    // Latin, its small capital, Cyrillic, Greek, Coptic, Cherokee, Canadian syllabics, Lisu.
    P: "p\u1d18\u0420\u0440\u03a1\u03c1\u2ca2\u2ca3\u13e2\u146d\ua4d1",
    // Latin, its small capital, Cyrillic, Greek, Armenian, Coptic, Georgian, Lisu; then struck through, theta, and signs.
    "0":
      "Oo\u1d0f\u041e\u043e\u039f\u03bf\u0555\u0585\u2c9e\u2c9f\u10ff\ua4f3" +
      "\u00d8\u00f8\u0398\u03b8\u2205\u2298\u2300\u24ff\u3007\u25cb\u25ef\u25cf\u00b0",
    // Latin, dotless, Cyrillic, Greek, Lisu; then strokes and signs.
    "1": "lI\u0131\u0406\u04c0\u04cf\u0399\ua4f2|!\u2223\u01c0\u01c3\u24f5\u2776",
  }).flatMap(([plain, others]) => Array.from(others, (other) => [other, plain] as const)),
);

/**
 * The strict class that a person may have meant by what is not exactly one: "p0", " P0", "Р0" with a Cyrillic letter,
 * "PO" with a letter O, "P0;P2", or with invisible characters between. Only P0 and P1: taking a wider class for meant
 * would be the very mistake that this is against. Undefined when it looks like neither.
 */
export function meantClass(declared: string): "P0" | "P1" | undefined {
  // All in one, where only real digits count ("report" holds no P0), and word for word, where letters and signs do, too.
  let digits = "";
  let words = " ";
  // Decomposed and not composed again: marks on a letter fall away from it with all that is no letter or digit.
  for (const char of declared.slice(0, MAX_CHARS).normalize("NFKD")) {
    const like = CONFUSABLES.get(char);
    const digit = /\p{Nd}/u.test(char) ? String(digitOf(char)) : undefined;
    const letter =
      like === "P" || (like === undefined && digit === undefined && /\p{L}/u.test(char)) ? (like ?? char) : "";
    digits += digit ?? letter;
    if (digit !== undefined || like !== undefined || letter !== "") words += digit ?? like ?? letter;
    else if (!/[\p{M}\p{Cf}\p{Cc}]/u.test(char)) words += " ";
  }
  words += " ";
  if (digits.includes("P0") || words.includes(" P0 ")) return "P0";
  return digits.includes("P1") || words.includes(" P1 ") ? "P1" : undefined;
}

/** Value of a decimal digit of any script: Unicode keeps the ten of each together, in order. */
function digitOf(char: string): number {
  const code = char.codePointAt(0) ?? 0;
  let before = 0;
  while (/\p{Nd}/u.test(String.fromCodePoint(code - before - 1))) before++;
  return before % 10;
}
