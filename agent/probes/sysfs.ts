import type { ProbeHost } from "./probe.ts";

/** The one line of a sysfs file. null: no such file, not readable for this user, the driver says busy, or empty. */
export async function readLine(host: ProbeHost, path: string): Promise<string | null> {
  const text = (await host.readText(path))?.trim();
  return text === undefined || text === "" ? null : text;
}

/** A number in a sysfs file, times `scale`: the kernel writes integers in small units (µW, m°C). null as in `readLine`. */
export async function readNumber(host: ProbeHost, path: string, scale = 1): Promise<number | null> {
  const line = await readLine(host, path);
  return line !== null && /^-?\d{1,20}$/.test(line) ? Number(line) * scale : null;
}

/** µW and µJ, m°C, bytes: what one unit of the kernel's is in ours. */
export const MICRO = 1e-6;
export const MILLI = 1e-3;
export const BYTES_AS_GB = 2 ** -30;

/** The folder of sensors that a device's driver offers; null = none. */
export async function sensorsOf(host: ProbeHost, devicePath: string): Promise<string | null> {
  const [name] = (await host.list(`${devicePath}/hwmon`)).toSorted();
  return name === undefined ? null : `${devicePath}/hwmon/${name}`;
}

/** Power from an energy counter: what was used between two looks. */
export class EnergyMeter {
  #before: { joules: number; atMs: number } | undefined;

  /**
   * Watts since the look before. null at the first look, and when the counter has gone back (it wrapped, or the machine slept).
   * @param wrapsAtJoules where the counter begins anew, if it says so.
   */
  watts(joules: number | null, atMs: number, wrapsAtJoules: number | null = null): number | null {
    const before = this.#before;
    this.#before = joules === null ? undefined : { joules, atMs };
    if (joules === null || before === undefined) return null;
    const seconds = (atMs - before.atMs) / 1000;
    const used = joules - before.joules + (joules < before.joules ? (wrapsAtJoules ?? Number.NaN) : 0);
    return seconds > 0 && used >= 0 ? used / seconds : null;
  }
}
