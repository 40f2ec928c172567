import { createPublicKey, webcrypto } from "node:crypto";
import { newId } from "../../../service/ids.ts";
import type { WorldEvent } from "./event-heap.ts";
import type { World } from "./world.ts";

/** A timer of a simulated process, as far as our code uses what Node gives it. */
class SimTimer {
  event: WorldEvent | undefined;
  ref(): this {
    return this;
  }
  unref(): this {
    return this;
  }
}

/** As Node: what is no time, or out of range, is one millisecond. */
function delayOf(ms: number | undefined): number {
  return ms !== undefined && ms >= 1 && ms <= 2 ** 31 - 1 ? ms : 1;
}

/**
 * Replaces what production code takes time and chance from (Date, performance.now, timers, Math.random, random bytes) by the
 * world's until the returned function is called. Each timer belongs to the process that set it.
 *
 * WebCrypto's importKey, the only asynchronous step of sealing, is replaced by its synchronous twin: threads finish when they
 * like. Keys are real and differ from run to run; no length and no order depends on them.
 */
export function takeOver(world: World): () => void {
  const restore: (() => void)[] = [];
  const replace = <T extends object, K extends keyof T>(target: T, key: K, value: unknown) => {
    const before = Object.getOwnPropertyDescriptor(target, key);
    Object.defineProperty(target, key, { value, configurable: true, writable: true });
    restore.push(() => {
      if (before === undefined) Reflect.deleteProperty(target, key);
      else Object.defineProperty(target, key, before);
    });
  };

  const RealDate = Date;
  class SimDate extends RealDate {
    constructor(...args: [] | [number]) {
      super(...((args.length === 0 ? [world.wallMs] : args) as [number]));
    }
    static override now(): number {
      // Whole, as Date.now is.
      return Math.floor(world.wallMs);
    }
  }
  replace(globalThis, "Date", SimDate);
  replace(performance, "now", () => world.monotonicMs);
  replace(Math, "random", () => (world.current?.chance ?? world.chance).next());
  replaceTimers(world, replace);

  const bytes = world.chance.fork("bytes");
  let refilled = false;
  replace(globalThis.crypto, "getRandomValues", (into: Uint8Array) => {
    refilled = true;
    for (let i = 0; i < into.length; i++) into[i] = Math.floor(bytes.next() * 256);
    return into;
  });
  // service/ids.ts keeps bytes for later: those of a former run go first.
  while (!refilled) newId();

  const algorithm = { name: "X25519" };
  replace(webcrypto.subtle, "importKey", async (_format: string, raw: Uint8Array) => {
    const x = Buffer.from(raw).toString("base64url");
    return createPublicKey({ key: { kty: "OKP", crv: "X25519", x }, format: "jwk" }).toCryptoKey(algorithm, true, []);
  });
  return () => {
    for (const undo of restore.toReversed()) undo();
  };
}

type Replace = (target: typeof globalThis, key: keyof typeof globalThis, value: unknown) => void;

function replaceTimers(world: World, replace: Replace): void {
  const real = { clearTimeout, clearInterval, clearImmediate };
  type Callback = (...args: unknown[]) => void;
  const once = (callback: Callback, ms: number, args: unknown[]) => {
    const timer = new SimTimer();
    timer.event = world.at(world.nowMs + ms, () => callback(...args), world.current, "timer");
    return timer;
  };
  const again = (callback: Callback, ms: number | undefined, ...args: unknown[]) => {
    const timer = new SimTimer();
    const owner = world.current;
    const set = () => {
      timer.event = world.at(world.nowMs + delayOf(ms), fire, owner, "timer");
    };
    const fire = () => {
      callback(...args);
      if (timer.event?.cancelled !== true) set();
    };
    set();
    return timer;
  };
  const clear = (how: (timer: never) => void) => (timer: unknown) => {
    if (!(timer instanceof SimTimer)) return how(timer as never);
    if (timer.event !== undefined) timer.event.cancelled = true;
  };
  replace(globalThis, "setTimeout", (callback: Callback, ms?: number, ...args: unknown[]) =>
    once(callback, delayOf(ms), args),
  );
  replace(globalThis, "setImmediate", (callback: Callback, ...args: unknown[]) => once(callback, 0, args));
  replace(globalThis, "setInterval", again);
  replace(globalThis, "clearTimeout", clear(real.clearTimeout));
  replace(globalThis, "clearInterval", clear(real.clearInterval));
  replace(globalThis, "clearImmediate", clear(real.clearImmediate));
}
