import { expect, test } from "vitest";
import { mutantsOf } from "./mutants.ts";

const SOURCE = `import { a } from "./a.ts";

/** true === false */
export function reject(level: string, layer: string) {
  if (level === "P0" && layer === "L2") return "never"; // true
  return list.includes(layer) ? undefined : \`not \${layer}\`;
}
`;
const of = (what: string) => mutantsOf(SOURCE).filter((mutant) => mutant.what === what);

test("each place is one mutant, with its line and that one change", () => {
  const mutants = of("=== becomes !==");
  expect(mutants.map(({ line }) => line)).toEqual([5, 5]);
  expect(mutants.map(({ text }) => text.split("\n")[4])).toEqual([
    '  if (level !== "P0" && layer === "L2") return "never"; // true',
    '  if (level === "P0" && layer !== "L2") return "never"; // true',
  ]);
});

test("comments and imports are no code", () => {
  expect(of("true becomes false")).toEqual([]);
  expect(mutantsOf(SOURCE).every(({ line }) => line >= 5)).toBe(true);
});

test("conditions, reasons, classes and lists are changed", () => {
  expect(of("a condition is never true")[0]?.text).toContain('if (false) return "never"');
  expect(of("a reason is not given")[0]?.text).toContain('layer === "L2") return undefined;');
  expect(of("P0 becomes P2")[0]?.text).toContain('level === "P2"');
  expect(of("includes is negated")[0]?.text).toContain("return !list.includes(layer)");
  expect(mutantsOf("const LIST = [\n  one,\n  two,\n];\n").map(({ text }) => text)).toEqual([
    "const LIST = [\n\n  two,\n];\n",
    "const LIST = [\n  one,\n\n];\n",
  ]);
});
