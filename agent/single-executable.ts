import { registerHooks } from "node:module";
import { getAsset } from "node:sea";
import vm from "node:vm";
import { entryOf, moduleBase } from "./single-executable-entry.ts";

/**
 * What the single executable, and each thread in it, runs first: Node 24 starts a program inside itself as CommonJS only, and ours are
 * ES modules with top-level await. So they lie inside as assets, and are loaded as modules under an address of their own. Bundled by
 * scripts/single-executable.ts to CommonJS; no part of the agent that runs from source.
 */

const { entry, argv } = entryOf(process.argv);
process.argv = argv;
const base = moduleBase(process.execPath);

registerHooks({
  resolve: (specifier, context, next) =>
    specifier.startsWith(base) ? { url: specifier, format: "module", shortCircuit: true } : next(specifier, context),
  load: (url, context, next) =>
    url.startsWith(base)
      ? { format: "module", source: getAsset(url.slice(base.length), "utf8"), shortCircuit: true }
      : next(url, context),
});

/** `import()` of a program inside finds only what Node itself has; compiled so it is the loader that ES modules have. */
const load = vm.runInThisContext("(url) => import(url)", {
  importModuleDynamically: vm.constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
}) as (url: string) => Promise<unknown>;

load(`${base}${entry}.js`).catch((error: unknown) => {
  process.stderr.write(`tiermesh-agent: ${error instanceof Error ? (error.stack ?? error.message) : "cannot start"}\n`);
  process.exit(1);
});
