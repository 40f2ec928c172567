import { expect, test } from "vitest";
import { gpusOfTable, readSmiTable } from "./smi-table.ts";

const table = (...lines: string[]) => ["+----+", "| TOOL 1.0 |", "|----+----|", ...lines, "+----+", ""].join("\n");

test("a value is found by its heading, wherever the column stands", () => {
  const text = table(
    "| Bus-Id       | Util  | GPU  Name   |",
    "|====+====|",
    "| 0000:65:00.0 | 7%    | 3    Big One |",
  );
  expect(gpusOfTable(text)).toMatchObject([{ index: 3, name: "Big One", address: "0000:65:00.0", utilization: 0.07 }]);
});

test("a cell with more or fewer values than its heading has names is not taken, its neighbours are", () => {
  const text = table("| GPU  Name | Temp  Power | Util |", "|====+====|", "| 0    A    | 40C         | 5%   |");
  expect(gpusOfTable(text)).toMatchObject([{ index: 0, celsius: null, watts: null, utilization: 0.05 }]);
});

test.each([
  ["40F", null],
  ["40", null],
  ["N/A", null],
  ["-5C", -5],
  ["40 C", 40],
])("without a unit in the heading the temperature %s is %s", (value, celsius) => {
  const text = table("| GPU  Name | Temp |", "|====+====|", `| 0    A    | ${value.replace(" ", "")} |`);
  expect(gpusOfTable(text)).toMatchObject([{ celsius }]);
});

test("a heading may carry the unit", () => {
  const text = table("| NPU  Name | Power(W)  Temp(C) |", "|====+====|", "| 0    A    | 98.5      40      |");
  expect(gpusOfTable(text)).toMatchObject([{ watts: 98.5, celsius: 40 }]);
});

test("two chips of one card are told apart by their physical number", () => {
  const text = table(
    "| NPU   Name       | Health        | Power(W)  Temp(C) |",
    "| Chip  Phy-ID     | Bus-Id        | AICore(%)         |",
    "+====+",
    "| 0     Ascend910  | OK            | 164.1     37      |",
    "| 0     0          | 0000:9D:00.0  | 0                 |",
    "+----+",
    "| 0     Ascend910  | OK            | -         36      |",
    "| 1     1          | 0000:9F:00.0  | 4                 |",
  );
  expect(gpusOfTable(text)).toMatchObject([
    { index: 0, watts: 164.1 },
    { index: 1, watts: null, celsius: 36, utilization: 0.04 },
  ]);
});

test("both chips of a 310P card are seen, although they share its address", () => {
  const text = table(
    "| NPU     Name   | Health        | Power(W)  Temp(C) |",
    "| Chip    Device | Bus-Id        | AICore(%)  Memory-Usage(MB) |",
    "+====+",
    "| 1       310P3  | OK            | NA        49      |",
    "| 0       0      | 0000:01:00.0  | 0          1448 / 44278 |",
    "+----+",
    "| 1       310P3  | OK            | NA        45      |",
    "| 1       1      | 0000:01:00.0  | 3          1511 / 43693 |",
  );
  expect(gpusOfTable(text)).toMatchObject([
    { index: 0, address: "0000:01:00.0", celsius: 49 },
    { index: 1, address: "0000:01:00.0", celsius: 45, utilization: 0.03 },
  ]);
});

test("a table of another shape, such as the list of processes, is no device", () => {
  const text = [
    table("| GPU  Name | Util |", "|====+====|", "| 0    A    | 5%   |"),
    "+----+",
    "| GPU | PID | Name |",
    "|====+====|",
    "| 0 | 12 | python |",
  ].join("\n");
  expect(gpusOfTable(text)).toHaveLength(1);
  expect(readSmiTable("no table\n\n| only | cells |\n")).toEqual([]);
});
