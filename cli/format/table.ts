/**
 * Rows as aligned columns, two spaces apart; numbers to the right. The first row is the heading. Names come from other
 * machines: control characters, which could steer the terminal, are shown as `?`.
 */
export function table(raw: readonly (readonly string[])[]): string {
  const rows = raw.map((row) => row.map((cell) => cell.replace(/\p{Cc}/gu, "?")));
  const widths: number[] = [];
  for (const row of rows) row.forEach((cell, i) => (widths[i] = Math.max(widths[i] ?? 0, displayWidth(cell))));
  return rows
    .map((row) =>
      row
        .map((cell, i) => {
          const padding = " ".repeat((widths[i] ?? 0) - displayWidth(cell));
          return /^-?[\d.,]+( ?(ms|%|s|GB|°C|W))?$/.test(cell) ? padding + cell : cell + padding;
        })
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

/** The common blocks of Unicode TR 11 that are East Asian wide, and emoji. */
const WIDE =
  /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{1f300}-\u{1faff}\u{20000}-\u{3fffd}]/u;
/** Marks that sit on the character before them, joiners, variation selectors. */
const NO_WIDTH = /[\p{Mn}\p{Me}\p{Cf}]/u;

/** Columns a text takes in a terminal: East Asian wide characters take two, combining marks none. */
export function displayWidth(text: string): number {
  let width = 0;
  for (const char of text) width += WIDE.test(char) ? 2 : NO_WIDTH.test(char) ? 0 : 1;
  return width;
}
