/**
 * Whether `one` is older than `other`, by the precedence of Semantic Versioning 2.0.0 (§11): numbers as numbers, a pre-release before its
 * release, build metadata not at all. What is no such version is compared as text.
 */
export function isOlder(one: string, other: string): boolean {
  const [left, right] = [parts(one), parts(other)];
  for (let place = 0; place < 3; place++) {
    const order = compare(left.core[place] ?? "0", right.core[place] ?? "0");
    if (order !== 0) return order < 0;
  }
  if (left.pre.length === 0 || right.pre.length === 0) return left.pre.length > right.pre.length;
  for (let place = 0; place < Math.max(left.pre.length, right.pre.length); place++) {
    const [a, b] = [left.pre[place], right.pre[place]];
    // More fields come after fewer.
    if (a === undefined || b === undefined) return a === undefined;
    const order = compare(a, b);
    if (order !== 0) return order < 0;
  }
  return false;
}

function parts(version: string): { core: string[]; pre: string[] } {
  const [plain = ""] = version.replace(/^v/, "").split("+", 1);
  const dash = plain.indexOf("-");
  const core = dash < 0 ? plain : plain.slice(0, dash);
  return { core: core.split("."), pre: dash < 0 ? [] : plain.slice(dash + 1).split(".") };
}

function compare(one: string, other: string): number {
  const [a, b] = [numberOf(one), numberOf(other)];
  if (a !== undefined && b !== undefined) return a - b;
  // Numbers come before words.
  if (a !== undefined || b !== undefined) return a === undefined ? 1 : -1;
  return one < other ? -1 : Number(one > other);
}

function numberOf(text: string): number | undefined {
  return /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}
