/** What a variant did in one round. */
export interface Work {
  ops: number;
  /** CPU time of the process under test, microseconds, where that is another process than this one. */
  cpuUs?: number;
  /** How long each operation took, microseconds; their median then stands for the round. */
  latenciesUs?: readonly number[];
}

/** One way of doing the work: does some of it and says how many operations that were. */
export type Variant = () => number | Work | Promise<number | Work>;

export interface PairedOptions {
  /** Rounds that count; each runs every variant once. */
  rounds?: number;
  /** Rounds before them, in which the compiler warms up. */
  warmupRounds?: number;
  /** Variant that the others are compared with; default: the first. */
  floor?: string;
}

export interface Measured {
  variant: string;
  /** Median over the rounds, microseconds for one operation: its latency where it was measured, else wall time. */
  usPerOp: number;
  /** Median over the rounds of their 99th percentiles, where latencies were measured. */
  p99Us?: number;
  /** CPU time of the process under test for one operation, all its threads, microseconds. */
  cpuUsPerOp: number;
  /** Operations per second at the median of the rounds' wall times. */
  perSecond: number;
  /** The time of each round, microseconds, of which `usPerOp` is the median. */
  roundsUs: readonly number[];
  /** Median of time over the floor's time in the same round: below 1 is faster than the floor. */
  ratio: number;
  /** A quarter and three quarters of the rounds had a ratio below these. */
  ratioQuartiles: [number, number];
}

export interface Comparison {
  name: string;
  floor: string;
  rounds: number;
  results: Measured[];
}

interface Sample {
  us: number;
  wallUs: number;
  cpuUs: number;
  p99Us: number | undefined;
}

/**
 * Measures variants against a floor in the same run: in each round every variant runs once, in an order that rotates, and
 * ratios are taken within a round. A noisy machine then slows both sides of a ratio, and drift cancels out.
 */
export async function paired(
  name: string,
  variants: Record<string, Variant>,
  { rounds = 15, warmupRounds = 3, floor = Object.keys(variants)[0] }: PairedOptions = {},
): Promise<Comparison> {
  const entries = Object.entries(variants);
  const samples = new Map<string, Sample[]>(entries.map(([variant]) => [variant, []]));
  if (floor === undefined || !samples.has(floor)) throw new Error(`${name}: no variant "${floor}" to be the floor`);
  for (let round = -warmupRounds; round < rounds; round++) {
    for (let i = 0; i < entries.length; i++) {
      const entry = entries[(i + round + warmupRounds) % entries.length];
      if (entry === undefined) continue;
      const sample = await once(entry[1]);
      if (round >= 0) samples.get(entry[0])?.push(sample);
    }
  }
  const floorSamples = samples.get(floor) ?? [];
  const results = entries.map(([variant]) => summary(variant, samples.get(variant) ?? [], floorSamples));
  return { name, floor, rounds, results };
}

async function once(variant: Variant): Promise<Sample> {
  const cpu = process.cpuUsage();
  const start = process.hrtime.bigint();
  const done = await variant();
  const us = Number(process.hrtime.bigint() - start) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  const { ops, cpuUs = user + system, latenciesUs } = typeof done === "number" ? ({ ops: done } as Work) : done;
  if (!(ops > 0)) throw new Error("a variant must say how many operations it did");
  const wallUs = us / ops;
  return {
    us: latenciesUs === undefined ? wallUs : quantile(latenciesUs, 0.5),
    wallUs,
    cpuUs: cpuUs / ops,
    p99Us: latenciesUs === undefined ? undefined : quantile(latenciesUs, 0.99),
  };
}

function summary(variant: string, samples: readonly Sample[], floor: readonly Sample[]): Measured {
  const median = (of: (sample: Sample) => number) => quantile(samples.map(of), 0.5);
  const ratios = samples.map(({ us }, round) => us / (floor[round]?.us ?? Number.NaN));
  const p99s = samples.flatMap(({ p99Us }) => p99Us ?? []);
  return {
    variant,
    usPerOp: median(({ us }) => us),
    ...(p99s.length === 0 ? {} : { p99Us: quantile(p99s, 0.5) }),
    cpuUsPerOp: median(({ cpuUs }) => cpuUs),
    perSecond: 1e6 / median(({ wallUs }) => wallUs),
    roundsUs: samples.map(({ us }) => us),
    ratio: quantile(ratios, 0.5),
    ratioQuartiles: [quantile(ratios, 0.25), quantile(ratios, 0.75)],
  };
}

/** @param share 0.5 is the median. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const at = share * (sorted.length - 1);
  const below = sorted[Math.floor(at)] ?? Number.NaN;
  const above = sorted[Math.ceil(at)] ?? Number.NaN;
  return below + (above - below) * (at - Math.floor(at));
}

/** How much longer `variant` took than `other` in the same round, microseconds: a quarter, the half and three quarters of the rounds. */
export function differenceUs({ results }: Comparison, variant: string, other: string): [number, number, number] {
  const roundsOf = (name: string) => results.find((measured) => measured.variant === name)?.roundsUs ?? [];
  const others = roundsOf(other);
  const differences = roundsOf(variant).map((us, round) => us - (others[round] ?? Number.NaN));
  return [quantile(differences, 0.25), quantile(differences, 0.5), quantile(differences, 0.75)];
}

/** A comparison as lines for people. */
export function describe(comparison: Comparison): string[] {
  const { name, floor, rounds, results } = comparison;
  const width = Math.max(...results.map(({ variant }) => variant.length));
  const lines = results.map(({ variant, usPerOp, p99Us, cpuUsPerOp, perSecond, ratio, ratioQuartiles }) => {
    const p99 = p99Us === undefined ? "" : `  p99 ${short(p99Us).padStart(6)} µs`;
    const times = `${short(usPerOp).padStart(8)} µs${p99}  ${short(cpuUsPerOp).padStart(7)} µs CPU  ${short(perSecond).padStart(9)}/s`;
    const [low, high] = ratioQuartiles;
    const [, overUs] = differenceUs(comparison, variant, floor);
    const over = `${overUs < 0 ? "−" : "+"}${short(Math.abs(overUs))} µs`;
    const against =
      variant === floor ? "floor" : `${short(ratio)}× the floor (${short(low)} to ${short(high)}), ${over}`;
    return `  ${variant.padEnd(width)}  ${times}  ${against}`;
  });
  return [`${name} (medians of ${rounds} rounds)`, ...lines];
}

/** Three significant digits, without exponent. */
function short(value: number): string {
  if (!Number.isFinite(value)) return "–";
  return value >= 100 ? String(Math.round(value)) : String(Number(value.toPrecision(3)));
}
