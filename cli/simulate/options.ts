import { InvalidArgumentError } from "commander";
import type { ClassShares } from "./plan.ts";
import { STRATEGY_NAMES, type StrategyName } from "./strategies.ts";

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000 };

/** A strategy's name, after those given before; one twice counts once. */
export function strategies(text: string, before: StrategyName[] = []): StrategyName[] {
  const name = STRATEGY_NAMES.find((each) => each === text);
  if (name === undefined) throw new InvalidArgumentError(`one of ${STRATEGY_NAMES.join(", ")}`);
  return [...new Set([...before, name])];
}

export function wholeNumber(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
    if (!(value >= least && value <= most)) throw new InvalidArgumentError(`a whole number from ${least} to ${most}`);
    return value;
  };
}

export function numberUpTo(most: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!(value > 0 && value <= most)) throw new InvalidArgumentError(`a number above 0, at most ${most}`);
    return value;
  };
}

/** A time with its unit, as milliseconds. */
export function duration(leastMs: number, mostMs: number): (text: string) => number {
  return (text) => {
    const [, number = "", unit = ""] = /^(\d{1,9}(?:\.\d{1,3})?)(ms|s|m)$/.exec(text) ?? [];
    const ms = Number(number) * (UNIT_MS[unit] ?? Number.NaN);
    if (!(ms >= leastMs && ms <= mostMs))
      throw new InvalidArgumentError(`a time such as 500ms, 1s or 10m, from ${leastMs} ms to ${mostMs} ms`);
    return ms;
  };
}

/** `P0=0.1,P1=0.3,P2=0.6`; a class that is not named has no share. */
export function classShares(text: string): ClassShares {
  const shares = { P0: 0, P1: 0, P2: 0 };
  for (const part of text.split(",")) {
    const [, level, share] = /^(P0|P1|P2)=(\d{1,6}(?:\.\d{1,6})?)$/.exec(part) ?? [];
    if (level === undefined) throw new InvalidArgumentError("shares such as P0=0.1,P1=0.3,P2=0.6");
    shares[level as keyof typeof shares] = Number(share);
  }
  if (shares.P0 + shares.P1 + shares.P2 === 0) throw new InvalidArgumentError("some share must be above 0");
  return shares;
}
