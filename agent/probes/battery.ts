import { Ratio } from "../../bus-schemas/units.ts";
import { roundTo, validOrNull, type Probe, type ProbeHost, type Reading } from "./probe.ts";
import { askPowerShell } from "./powershell.ts";
import { readLine, readNumber } from "./sysfs.ts";
import { ask, at, listOf, readJson, unreadable, type Tool } from "./tool.ts";

const PMSET: Tool = { name: "pmset", programs: ["/usr/bin/pmset"], timeoutMs: 4000 };
const SUPPLIES = "/sys/class/power_supply";

type Charge = Required<Pick<Reading["values"], "battery_level" | "on_battery">>;
const UNKNOWN: Charge = { battery_level: null, on_battery: null };

/**
 * The machine's own battery: how full (0 to 1), and whether the machine lives on it. Linux: /sys/class/power_supply; macOS: `pmset -g batt`; Windows:
 * Win32_Battery. None of them needs root. Both are null without a battery.
 */
export function createBatteryProbe(): Probe {
  return {
    name: "battery",
    fills: "battery",
    everyMs: 15_000,
    timeoutMs: 15_000,
    async probe(host, signal) {
      if (host.platform === "linux") return { values: await ofSysfs(host), how: SUPPLIES };
      if (host.platform === "darwin") {
        const said = await ask(host, PMSET, ["-g", "batt"], signal);
        return { values: said === undefined ? UNKNOWN : ofPmset(said), how: "pmset -g batt" };
      }
      if (host.platform !== "win32") return { values: UNKNOWN, how: `not known how on ${host.platform}` };
      const said = await askPowerShell(host, "battery", WINDOWS_QUESTION, signal);
      return { values: said === undefined ? UNKNOWN : ofWindows(said), how: "Win32_Battery" };
    },
  };
}

interface Cell {
  full: number;
  now: number;
}

/** A wireless mouse has a battery too: its scope is "Device". Several batteries count by what they hold. */
async function ofSysfs(host: ProbeHost): Promise<Charge> {
  const cells: Cell[] = [];
  let discharging = false;
  let batteries = 0;
  let plugged: boolean | null = null;
  for (const name of await host.list(SUPPLIES)) {
    const path = `${SUPPLIES}/${name}`;
    if ((await readLine(host, `${path}/scope`)) === "Device") continue;
    const type = await readLine(host, `${path}/type`);
    if (type === "Battery") {
      batteries++;
      discharging ||= (await readLine(host, `${path}/status`)) === "Discharging";
      const cell = await cellOf(host, path);
      if (cell !== undefined) cells.push(cell);
    } else if (type === "Mains" || type === "USB") {
      const online = await readNumber(host, `${path}/online`);
      if (online !== null) plugged = (plugged ?? false) || online > 0;
    }
  }
  if (batteries === 0) return { battery_level: null, on_battery: plugged === true ? false : null };
  const full = cells.reduce((sum, cell) => sum + cell.full, 0);
  const now = cells.reduce((sum, cell) => sum + cell.now, 0);
  const level = cells.length < batteries || full === 0 ? null : validOrNull(Ratio, roundTo(Math.min(now / full, 1), 3));
  // A supply too weak for the load leaves the battery discharging although it is plugged in.
  return { battery_level: level, on_battery: discharging ? plugged !== true : plugged === null ? null : !plugged };
}

async function cellOf(host: ProbeHost, path: string): Promise<Cell | undefined> {
  for (const kind of ["energy", "charge"]) {
    const full = await readNumber(host, `${path}/${kind}_full`);
    const now = await readNumber(host, `${path}/${kind}_now`);
    if (full !== null && full > 0 && now !== null && now >= 0) return { full, now };
  }
  const percent = await readNumber(host, `${path}/capacity`);
  return percent === null || percent < 0 || percent > 100 ? undefined : { full: 100, now: percent };
}

/**
 * ```
 * Now drawing from 'Battery Power'
 *  -InternalBattery-0 (id=4522083)	72%; discharging; 3:15 remaining present: true
 * ```
 */
function ofPmset(said: string): Charge {
  const source = /Now drawing from '([^']+)'/.exec(said)?.[1];
  if (source === undefined) throw unreadable("pmset", said);
  const percent = /InternalBattery[^\n]*?\b(\d{1,3})%/.exec(said)?.[1];
  return {
    battery_level: percent === undefined ? null : validOrNull(Ratio, Number(percent) / 100),
    on_battery: source === "Battery Power" || source === "UPS Power" ? true : source === "AC Power" ? false : null,
  };
}

const WINDOWS_QUESTION =
  "ConvertTo-Json -Compress @(Get-CimInstance Win32_Battery | Select-Object EstimatedChargeRemaining, BatteryStatus)";

/** Win32_Battery: `EstimatedChargeRemaining` in percent; `BatteryStatus` 1 = discharging, 2 = on mains, 3 and above: charging or full. */
function ofWindows(said: string): Charge {
  const batteries = listOf(readJson("powershell", said));
  const percents = batteries.map((one) => at(one, "EstimatedChargeRemaining"));
  const states = batteries.map((one) => at(one, "BatteryStatus")).filter((state) => typeof state === "number");
  const known = percents.filter((percent) => typeof percent === "number");
  const mean = known.reduce((sum, percent) => sum + percent, 0) / known.length;
  return {
    battery_level: known.length < batteries.length ? null : validOrNull(Ratio, roundTo(mean / 100, 3)),
    on_battery: states.length === 0 ? null : states.includes(1) || states.includes(4) || states.includes(5),
  };
}
