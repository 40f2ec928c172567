import { pciAddress } from "../pci.ts";
import { amount, CELSIUS, GB, RATIO, WATTS, whole, type GpuFacts } from "./facts.ts";

/** A device in such a table: what stands under each heading. */
type Row = Map<string, string>;

/**
 * Reads the tables that npu-smi, cnmon, mx-smi and Kunlunxin's xpu-smi print in the manner of nvidia-smi: a heading of two or three
 * lines, and for each device as many lines, cell under cell. Values are found by their heading, so a column more or in
 * another place does no harm; where a cell has not as many values as its heading has names, none of them is taken.
 */
export function readSmiTable(text: string): Row[] {
  const rows: Row[] = [];
  let heading: string[][] = [];
  let block: string[][] = [];
  let inside = false;
  const endBlock = () => {
    if (inside && heading.length > 0 && block.length % heading.length === 0) {
      for (let first = 0; first < block.length; first += heading.length) {
        rows.push(under(heading, block.slice(first, first + heading.length)));
      }
    }
    block = [];
  };
  for (const line of text.split(/\r?\n/)) {
    const cells = cellsOf(line);
    if (cells === undefined) {
      // `|====+====|` ends a heading, unless it only parts one device from the next (npu-smi does so).
      if (/^\s*[|+]=/.test(line) && !inside && block.length > 0) {
        heading = block;
        block = [];
        inside = true;
        continue;
      }
      endBlock();
      if (line.trim() === "") inside = false;
      continue;
    }
    // The devices come first; what follows is about processes.
    if (!inside && rows.length > 0) break;
    // A title, or the next table: its columns are not these.
    if (cells.length < 2 || (inside && cells.length !== heading[0]?.length)) {
      endBlock();
      inside = false;
      continue;
    }
    block.push(cells);
  }
  endBlock();
  return rows;
}

/** The cells of a `| … | … |` line; undefined for every other line, and for one that was cut off. */
function cellsOf(line: string): string[] | undefined {
  if (!/^\s*\|(?![-=])/.test(line) || !/\|\s*$/.test(line)) return undefined;
  return line
    .split("|")
    .slice(1, -1)
    .map((cell) => cell.trim());
}

function under(heading: string[][], lines: string[][]): Row {
  const row: Row = new Map();
  heading.forEach((cells, lineAt) => {
    cells.forEach((cell, at) => {
      const names = cell.split(/\s{2,}/).filter((name) => name !== "");
      const values = spread(lines[lineAt]?.[at] ?? "", names);
      names.forEach((name, nth) => {
        const value = values?.[nth];
        if (value !== undefined && !row.has(name)) row.set(name, value);
      });
    });
  });
  return row;
}

/** `0 / 970`, `53984/ 65536`, `98W / 400W`, `30 W/ 150 W`, `858/65536 MiB`, `97W / NA`: one value each; the rest are words. */
const VALUE = /\d+(?:\.\d+)? ?(?:[MG]i?B|W)? *\/ *(?:\d+(?:\.\d+)? ?(?:[MG]i?B|W)?|N\/?A\b)|\S+/g;

/** The values of a cell, one for each name, or undefined. A device's name may have several words. */
function spread(cell: string, names: string[]): string[] | undefined {
  const values = cell.match(VALUE) ?? [];
  const surplus = values.length - names.length;
  if (surplus === 0) return values;
  const nameAt = names.findIndex((name) => /^name$/i.test(name));
  if (surplus < 0 || nameAt === -1) return undefined;
  return values.toSpliced(nameAt, surplus + 1, values.slice(nameAt, nameAt + surplus + 1).join(" "));
}

/** The devices of such a table, in our units. A line that names neither a number nor an address is no device. */
export function gpusOfTable(text: string): GpuFacts[] {
  return readSmiTable(text).flatMap((row) => {
    const [, name] = entry(row, /^name$/i);
    // A card may carry several chips, which npu-smi counts in a column of their own.
    const index = whole(entry(row, /^(?:phy-id|device)$/i)[1]) ?? whole(entry(row, /^(?:gpu|npu|xpu|card)$/i)[1]);
    const address = pciAddress(entry(row, /^bus-id$/i)[1]);
    if (index === null && address === null) return [];
    const [utilAt, util] = entry(row, /^(?:.*-)?util$|^aicore/i);
    const [temperatureAt, temperature] = entry(row, /^temp/i);
    const [powerAt, power] = entry(row, /^(?:pwr|power)\b/i);
    const [watts, limitWatts] = halves(power);
    const memory = memoryOf(row, /^hbm-usage/i) ?? memoryOf(row, /^memory-usage/i);
    return [
      {
        index,
        name,
        address,
        totalGb: memory?.totalGb ?? null,
        usedGb: memory?.usedGb ?? null,
        utilization: amount(util, RATIO, unitOf(utilAt)),
        celsius: amount(temperature, CELSIUS, unitOf(temperatureAt)),
        watts: amount(watts, WATTS, unitOf(powerAt)),
        limitWatts: amount(limitWatts, WATTS, unitOf(powerAt)),
      },
    ];
  });
}

/** undefined when there is no such column, or it says "0 of 0": this chip has no memory of that kind. */
function memoryOf(row: Row, heading: RegExp): { usedGb: number | null; totalGb: number } | undefined {
  const [at, value] = entry(row, heading);
  const [used, total] = halves(value);
  const unit = unitOf(at) ?? /[a-z]+$/i.exec(total ?? "")?.[0];
  const totalGb = amount(total, GB, unit);
  return totalGb === null || totalGb === 0 ? undefined : { usedGb: amount(used, GB, unit), totalGb };
}

function entry(row: Row, heading: RegExp): [string | undefined, string | undefined] {
  return [...row].find(([name]) => heading.test(name)) ?? [undefined, undefined];
}

/** `98W / 400W` as its two sides; a value without a slash is the left one. */
function halves(value: string | undefined): (string | undefined)[] {
  return value?.split("/").map((half) => half.trim()) ?? [];
}

/** The unit in a heading such as `Power(W)`. */
function unitOf(heading: string | undefined): string | undefined {
  return /\(([^)]+)\)/.exec(heading ?? "")?.[1];
}
