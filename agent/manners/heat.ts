/** How far a part of the machine is throttled by its heat. */
export interface Heat {
  /** 0 = not at all, {@link HEAT_STEPS} = it takes nothing. */
  steps: number;
  /** Since when it is cool enough for a step back, monotonic milliseconds; null = it is not. */
  coolerSinceMs: number | null;
}

/** Steps from everything to nothing: at 10 °C below the limit, at 5 °C below it, and at the limit. */
export const HEAT_STEPS = 3;
const STEP_CELSIUS = 5;
/** A step that was taken at some temperature is taken back when it is so much cooler, degrees Celsius. */
const BACK_CELSIUS = 5;

/** macOS tells no temperature without root, but how hard it throttles (`pmset -g therm`). */
const PRESSURE_STEPS: Readonly<Record<string, number>> = { nominal: 0, fair: 1, serious: 2, critical: HEAT_STEPS };

/** What is known of one part's heat. null = not known. */
export interface HeatReading {
  celsius: number | null;
  /** As the operating system names it. */
  pressure: string | null;
}

/**
 * The steps after one more look: more of them at once, fewer one by one, each after it was cool enough for `openMs`. What is not known
 * changes nothing: a sensor that fell silent has not cooled anything.
 */
export function throttle(
  heat: Heat | undefined,
  reading: HeatReading,
  limitCelsius: number | null,
  openMs: number,
  nowMs: number,
): Heat {
  if (limitCelsius === null) return { steps: 0, coolerSinceMs: null };
  const { steps, coolerSinceMs } = heat ?? { steps: 0, coolerSinceMs: null };
  const up = stepsAt(reading, limitCelsius, 0);
  const down = stepsAt(reading, limitCelsius, BACK_CELSIUS);
  if (up === undefined || down === undefined) return { steps, coolerSinceMs: null };
  if (up > steps) return { steps: up, coolerSinceMs: null };
  if (down >= steps) return { steps, coolerSinceMs: null };
  const sinceMs = coolerSinceMs ?? nowMs;
  return nowMs - sinceMs < openMs ? { steps, coolerSinceMs: sinceMs } : { steps: steps - 1, coolerSinceMs: null };
}

/** @param above added to the temperature */
function stepsAt({ celsius, pressure }: HeatReading, limitCelsius: number, above: number): number | undefined {
  const byCelsius = celsius === null ? undefined : stepsOf(celsius + above - limitCelsius);
  const byPressure = pressure === null ? undefined : PRESSURE_STEPS[pressure];
  if (byCelsius === undefined) return byPressure;
  return Math.max(byCelsius, byPressure ?? 0);
}

function stepsOf(overCelsius: number): number {
  const steps = Math.floor(overCelsius / STEP_CELSIUS) + HEAT_STEPS;
  return Math.min(Math.max(steps, 0), HEAT_STEPS);
}
