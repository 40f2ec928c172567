/** The part of pinned-node.mjs that TypeScript needs; that file itself must load under Node 18. */
export function compiledDir(
  env?: Readonly<Record<string, string | undefined>>,
  platform?: NodeJS.Platform,
  home?: string,
): string;
