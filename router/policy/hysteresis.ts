/**
 * A reading with backlash: it rises at once, and falls only when the value is more than `width` below it. A threshold on
 * it is entered at the threshold and left `width` below, whatever the threshold is.
 * @param previous what this returned for the reading before, null where there was none
 */
export function held(previous: number | null, value: number | null, width: number): number | null {
  if (value === null || previous === null) return value;
  return Math.max(value, Math.min(previous, value + width));
}
