import { z } from "zod";
import { DISK, replaceFiles } from "../tlog/files.ts";

const DAY_MS = 24 * 3600 * 1000;
/** So far the clock may have moved beside the time that passed: a machine that slept, a correction; milliseconds. */
const LEAP_MS = DAY_MS;
/** A clock that leapt is believed when it has stood for so long while this program ran, milliseconds. */
const STANDS_MS = 3 * DAY_MS;

/** What is kept between two runs. */
const Kept = z.object({
  /** What the clock said last, epoch milliseconds. */
  wall_ms: z.number(),
  /** For how long it must still stand to be believed, milliseconds of running; 0 = it is. */
  left_ms: z.number().min(0),
});

export interface TrustedClockOptions {
  /** Where is kept what the clock said last. */
  file: string;
  nowMs?: () => number;
  /** A clock that never jumps, milliseconds. */
  steadyMs?: () => number;
  /** Told when the clock has leapt, by how much, milliseconds. */
  onLeap?: (byMs: number) => void;
}

/**
 * The wall clock, as long as it can be believed: a clock that says that ten years have passed must not remove ten years of a record.
 * One that leaps, while this runs or between two runs, is believed only when it has stood there for three days; also the first time.
 * Until then nothing is late: what has to go goes later.
 */
export class TrustedClock {
  readonly #options: TrustedClockOptions;
  readonly #nowMs: () => number;
  readonly #steadyMs: () => number;
  #last: (z.infer<typeof Kept> & { steady_ms: number | undefined }) | undefined;
  #read = false;

  constructor(options: TrustedClockOptions) {
    const { nowMs = Date.now, steadyMs = () => performance.now() } = options;
    this.#options = options;
    this.#nowMs = nowMs;
    this.#steadyMs = steadyMs;
  }

  /** Whether it was believed when it was asked last. */
  get isTrusted(): boolean {
    return this.#last?.left_ms === 0;
  }

  /** Epoch milliseconds; undefined while the clock is not believed. @throws the file system's errors */
  async now(): Promise<number | undefined> {
    const [wall, steady] = [this.#nowMs(), this.#steadyMs()];
    const last = await this.#known();
    const ran = last?.steady_ms === undefined ? 0 : steady - last.steady_ms;
    const leap = last === undefined ? undefined : wall - last.wall_ms - ran;
    const leapt = leap === undefined || Math.abs(leap) > LEAP_MS;
    if (leapt && leap !== undefined) this.#options.onLeap?.(leap);
    const left = leapt ? STANDS_MS : Math.max(0, (last?.left_ms ?? 0) - ran);
    this.#last = { wall_ms: wall, left_ms: left, steady_ms: steady };
    const kept = JSON.stringify({ wall_ms: wall, left_ms: left } satisfies z.infer<typeof Kept>);
    await replaceFiles(DISK, new Map([[this.#options.file, Buffer.from(`${kept}\n`)]]));
    return left === 0 ? wall : undefined;
  }

  async #known() {
    if (this.#read) return this.#last;
    this.#read = true;
    const text = (await DISK.read(this.#options.file))?.toString();
    const kept = Kept.safeParse(text === undefined ? undefined : parsed(text)).data;
    if (kept !== undefined) this.#last = { ...kept, steady_ms: undefined };
    return this.#last;
  }
}

/** A damaged file is as good as none: the clock has to stand anew. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
