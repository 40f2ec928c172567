/**
 * `npm run soak -- --minutes 30`: a real mesh under gentle load; `npm run soak -- --hours 24`: its parts on virtual time. Prints how memory,
 * handles and the loop's lag move in each process, and exits with 1 when something grows for certain.
 */
import { parseArgs } from "node:util";
import { soakCompressed } from "./compressed.ts";
import { soakReal } from "./real.ts";

const { values } = parseArgs({ options: { minutes: { type: "string" }, hours: { type: "string" } } });
const say = (line: string) => void process.stdout.write(`${line}\n`);
const number = (name: "minutes" | "hours") => {
  const value = Number(values[name]);
  if (!(value > 0)) throw new RangeError(`--${name}: a number above 0`);
  return value;
};
let good = true;
if (values.hours !== undefined) good = await soakCompressed(number("hours"), say);
if (values.minutes !== undefined) good = (await soakReal(number("minutes"), say)) && good;
if (values.hours === undefined && values.minutes === undefined) say("npm run soak -- --minutes 30 | --hours 24");
say(good ? "nothing leaks" : "something grows");
process.exit(good ? 0 : 1);
