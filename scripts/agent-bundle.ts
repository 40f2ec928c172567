import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { rolldown, type Plugin } from "rolldown";
import { ENTRIES } from "../agent/entries.ts";

/**
 * The agent as plain JavaScript, one file for each of its threads and processes. Such an agent never loads the type stripper, whose
 * memory stays, nor modules one by one. Names and stack frames are kept; only white space and comments go.
 */

export const ROOT = path.join(import.meta.dirname, "..");
const LLAMA_LOCK = path.join(ROOT, "agent/embedded/node-llama-cpp.lock.json");
/** Found where the bundle is, if at all: native, or fetched at run time. */
const EXTERNAL = ["koffi", "node-nvidia-smi", "node-llama-cpp"];
/** Modules of these folders only declare: what nobody uses of them is left out whole. */
const DECLARING = /[\\/](bus-schemas|service|agent)[\\/](?!main\.ts|.*worker\.ts|.*server\.ts)/;

/** What a folder with the agent has a file for: the agent itself, and what `entryUrl` names. */
const AGENT_INPUTS = Object.fromEntries(
  Object.entries({ main: "main.ts", ...ENTRIES }).map(([name, file]) => [name, path.join(ROOT, "agent", file)]),
);

export interface BundleOptions {
  format?: "esm" | "cjs";
  /** Of the program; default: package.json's. */
  version?: string | undefined;
  /** Further steps of the bundler. */
  plugins?: readonly Plugin[];
}

/** Writes one file of JavaScript for each input, by its name. @returns their sizes, characters */
export async function bundle(
  folder: string,
  inputs: Readonly<Record<string, string>>,
  { format = "esm", version, plugins = [] }: BundleOptions = {},
): Promise<Record<string, number>> {
  mkdirSync(folder, { recursive: true });
  const sizes: Record<string, number> = {};
  for (const [name, input] of Object.entries(inputs)) {
    const made = await rolldown({
      input,
      platform: "node",
      external: EXTERNAL,
      cwd: ROOT,
      treeshake: { moduleSideEffects: (id) => !DECLARING.test(id) },
      plugins: [ofVersion(version), ...plugins],
    });
    const { output } = await made.generate({
      format,
      codeSplitting: false,
      minify: { compress: false, mangle: false, codegen: { removeWhitespace: true } },
    });
    await made.close();
    const code = asciiOnly(output[0].code);
    writeFileSync(path.join(folder, `${name}.${format === "cjs" ? "cjs" : "js"}`), code);
    sizes[name] = code.length;
  }
  return sizes;
}

/** The agent, to be started by a Node from that folder. */
export async function bundleAgent(folder: string, options: BundleOptions = {}): Promise<Record<string, number>> {
  const sizes = await bundle(folder, AGENT_INPUTS, options);
  copyFileSync(LLAMA_LOCK, path.join(folder, path.basename(LLAMA_LOCK)));
  return sizes;
}

/** Of package.json only the version is used. */
function ofVersion(version: string | undefined): Plugin {
  const file = path.join(ROOT, "package.json");
  return {
    name: "version",
    load(id) {
      if (id !== file) return null;
      const { version: own } = JSON.parse(readFileSync(file, "utf8")) as { version: string };
      return { code: JSON.stringify({ version: version ?? own }), moduleType: "json" };
    },
  };
}

/** Source text stays in memory, and one character beyond Latin-1 doubles it. Such characters are only in strings and patterns here. */
function asciiOnly(code: string): string {
  return code.replace(/[^\0-\x7f]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
}
