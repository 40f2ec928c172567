// Preloaded into a process (node --import): its wall clock, in all its threads, is off by what a file says, in milliseconds. Clocks
// that never jump are as they are.
import { readFileSync } from "node:fs";

const file = process.env.TEST_CLOCK_FILE ?? "";
const RealDate = Date;
const offset = () => Number(readFileSync(file, "utf8"));
const now = () => RealDate.now() + offset();

globalThis.Date = class extends RealDate {
  constructor(...args) {
    if (args.length === 0) super(now());
    else super(...args);
  }
  static now() {
    return now();
  }
};
