import { styleText } from "node:util";

/** Colours only where standard output is a terminal that wants them (`NO_COLOR`, `FORCE_COLOR` are honoured). */
export function dim(text: string): string {
  return styleText("dim", text, { stream: process.stdout });
}

export function bold(text: string): string {
  return styleText("bold", text, { stream: process.stdout });
}

export function green(text: string): string {
  return styleText("green", text, { stream: process.stdout });
}

export function yellow(text: string): string {
  return styleText("yellow", text, { stream: process.stdout });
}

export function print(line = ""): void {
  process.stdout.write(`${line}\n`);
}

/** A line for the person at the terminal, beside what a pipe carries on: to standard error. */
export function note(line: string): void {
  process.stderr.write(`${line}\n`);
}

export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value, null, 2)}\n`);
}

/** Text from elsewhere as a terminal may show it: control characters but line break and tab, which could steer it, become `?`. */
export function harmless(text: string): string {
  return text.replace(/(?![\n\t])\p{Cc}/gu, "?");
}
