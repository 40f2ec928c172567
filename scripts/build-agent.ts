import { copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { rolldown } from "rolldown";
import { ENTRIES } from "../agent/entries.ts";

/**
 * `npm run build:agent`: writes the agent as one plain JavaScript file for each of its threads and processes, to out/agent or to the
 * folder that is named. Such an agent never loads the type stripper, whose memory stays, nor modules one by one. Names and stack
 * frames are kept; only white space and comments go. Nothing needs it: the same agent runs from source.
 */

const ROOT = path.join(import.meta.dirname, "..");
/** Found where the bundle is, if at all: native, or fetched at run time. */
const EXTERNAL = ["koffi", "node-nvidia-smi", "node-llama-cpp"];
/** Modules of these folders only declare: what nobody uses of them is left out whole. */
const DECLARING = /[\\/](bus-schemas|service|agent)[\\/](?!main\.ts|.*worker\.ts|.*server\.ts)/;

/** What a bundle has a file for: the agent itself, and what `entryUrl` names. */
const INPUTS = { main: "main.ts", ...ENTRIES };

export async function buildAgent(folder: string): Promise<Record<string, number>> {
  mkdirSync(folder, { recursive: true });
  const bytes: Record<string, number> = {};
  for (const [name, input] of Object.entries(INPUTS)) {
    const bundle = await rolldown({
      input: path.join(ROOT, "agent", input),
      platform: "node",
      external: EXTERNAL,
      cwd: ROOT,
      treeshake: { moduleSideEffects: (id) => !DECLARING.test(id) },
    });
    const { output } = await bundle.generate({
      format: "esm",
      codeSplitting: false,
      minify: { compress: false, mangle: false, codegen: { removeWhitespace: true } },
    });
    await bundle.close();
    const code = asciiOnly(output[0].code);
    writeFileSync(path.join(folder, `${name}.js`), code);
    bytes[name] = code.length;
  }
  copyFileSync(
    path.join(ROOT, "agent/embedded/node-llama-cpp.lock.json"),
    path.join(folder, "node-llama-cpp.lock.json"),
  );
  return bytes;
}

/** Source text stays in memory, and one character beyond Latin-1 doubles it. Such characters are only in strings and patterns here. */
function asciiOnly(code: string): string {
  return code.replace(/[^\0-\x7f]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

if (import.meta.main) {
  const folder = path.resolve(process.argv[2] ?? path.join(ROOT, "out", "agent"));
  const bytes = await buildAgent(folder);
  const sizes = Object.entries(bytes).map(([name, count]) => `${name}.js ${Math.round(count / 1000)} kB`);
  process.stdout.write(`${folder}: ${sizes.join(", ")}\n`);
}
