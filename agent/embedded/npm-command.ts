import { existsSync, realpathSync } from "node:fs";
import { basename, delimiter, dirname, join } from "node:path";

/** A program and its first arguments. */
export interface Command {
  file: string;
  args: readonly string[];
}

/** npm's own script, below the folder that holds the npm package. */
const NPM_CLI = join("npm", "bin", "npm-cli.js");

/**
 * How to run npm without a shell: its script with this very Node. (On Windows `npm` is a .cmd file, which spawn refuses
 * without a shell, and `PATH` may find an older Node.) Falls back to `npm` from `PATH`.
 */
export function npmCommand(env: NodeJS.ProcessEnv, nodePath: string = process.execPath): Command {
  for (const candidate of candidates(env, nodePath)) {
    if (basename(candidate) === "npm-cli.js" && existsSync(candidate)) return { file: nodePath, args: [candidate] };
  }
  return { file: "npm", args: [] };
}

function* candidates(env: NodeJS.ProcessEnv, nodePath: string): Generator<string> {
  if (env["npm_execpath"] !== undefined) yield env["npm_execpath"];
  // Beside node.exe on Windows; ../lib/node_modules elsewhere.
  yield join(dirname(nodePath), "node_modules", NPM_CLI);
  yield join(dirname(nodePath), "..", "lib", "node_modules", NPM_CLI);
  for (const folder of (env["PATH"] ?? env["Path"] ?? "").split(delimiter)) {
    if (folder === "") continue;
    yield join(folder, "node_modules", NPM_CLI);
    try {
      // Elsewhere `npm` on PATH is a link to the script.
      yield realpathSync(join(folder, "npm"));
    } catch {
      continue;
    }
  }
}

/** What an outer `npm start` or `npm install -g` puts into the environment must not steer our own install. */
const OUTER_SETTINGS =
  /^npm_(package_|lifecycle_|command|config_(global|location|prefix|local_prefix|workspace|workspaces|dry_run|omit|include|package_lock_only)$)/i;

export function npmEnvironment(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !OUTER_SETTINGS.test(name)));
}
