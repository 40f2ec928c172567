/** One small wrong change of a file. */
export interface Mutant {
  /** From 1. */
  line: number;
  what: string;
  /** The whole file with the change. */
  text: string;
}

/** What is changed, and into what. Each place that a pattern finds is one mutant; code only, not comments. */
const MUTATORS: readonly { what: string; find: RegExp; into: string }[] = [
  { what: "=== becomes !==", find: /===/g, into: "!==" },
  { what: "!== becomes ===", find: /!==/g, into: "===" },
  { what: "&& becomes ||", find: /&&/g, into: "||" },
  { what: "|| becomes &&", find: /\|\|/g, into: "&&" },
  { what: "<= becomes <", find: /<=/g, into: "<" },
  { what: ">= becomes >", find: />=/g, into: ">" },
  { what: "< becomes <=", find: /(?<= )<(?= )/g, into: "<=" },
  { what: "> becomes >=", find: /(?<= )>(?= )/g, into: ">=" },
  { what: "< becomes >=", find: /(?<= )<=?(?= )/g, into: ">=" },
  { what: "> becomes <=", find: /(?<= )>=?(?= )/g, into: "<=" },
  { what: "a negation is left out", find: /!(?=[A-Za-z(])/g, into: "" },
  { what: "includes is negated", find: /(?<![!\w.])([\w.]+)\.includes\(/g, into: "!$1.includes(" },
  { what: "true becomes false", find: /\btrue\b/g, into: "false" },
  { what: "false becomes true", find: /\bfalse\b/g, into: "true" },
  { what: "a condition is always true", find: /\bif \((.*)\)(?= (?:return|\{|throw|continue)|$)/gm, into: "if (true)" },
  { what: "a condition is never true", find: /\bif \((.*)\)(?= (?:return|\{|throw|continue)|$)/gm, into: "if (false)" },
  { what: "a reason is not given", find: /\breturn (?:"[^"]*"|`[^`]*`|told\(.*\))(?=;)/g, into: "return undefined" },
  { what: "a reason is always given", find: /\breturn undefined(?=;)/g, into: 'return "mutant"' },
  { what: "nothing is done", find: /^ {2,}(?!return|const|let|for|if|[}\]/*])[\w.]+\(.*\);$/gm, into: ";" },
  { what: "+ becomes -", find: /(?<= )\+(?= )/g, into: "-" },
  { what: "* becomes /", find: /(?<=[\w)] )\*(?= [\w(])/g, into: "/" },
  { what: "P0 becomes P2", find: /"P0"/g, into: '"P2"' },
  { what: "P1 becomes P2", find: /"P1"/g, into: '"P2"' },
  { what: "L2 becomes L1", find: /"L2"/g, into: '"L1"' },
  { what: "an element of the list is left out", find: /^ {2}\w+,$/gm, into: "" },
];

/** Every mutant of a file, in the order of {@link MUTATORS}; changes that make no difference are left out. */
export function mutantsOf(source: string): Mutant[] {
  const mutants: Mutant[] = [];
  for (const { what, find, into } of MUTATORS) {
    for (const match of source.matchAll(find)) {
      if (isComment(source, match.index) || isImport(source, match.index)) continue;
      const changed = match[0].replace(new RegExp(find.source, find.flags.replace("g", "")), into);
      const replacement = changed === match[0] ? into.replace("$1", match[1] ?? "") : changed;
      const text = source.slice(0, match.index) + replacement + source.slice(match.index + match[0].length);
      if (text === source) continue;
      mutants.push({ line: source.slice(0, match.index).split("\n").length, what, text });
    }
  }
  return mutants;
}

function lineAt(source: string, index: number): string {
  return source.slice(source.lastIndexOf("\n", index - 1) + 1, index);
}

function isComment(source: string, index: number): boolean {
  return /^\s*(?:\*|\/\*)|\/\//.test(lineAt(source, index));
}

function isImport(source: string, index: number): boolean {
  const before = source.slice(0, index);
  return before.lastIndexOf("import ") > before.lastIndexOf(' from "') || /^import\b/.test(lineAt(source, index));
}
