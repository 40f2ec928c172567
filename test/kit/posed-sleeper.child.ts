import { registerHooks } from "node:module";

/** `tiermesh …` as it is, but for what its agent reads of its system about sleep (posed-sleep.ts); exchanged in the test's own process. */
const POSED = /^\.\/(sleep\/)?(system-sleep|how-to-wake|this-network)\.ts$/;

registerHooks({
  resolve: (specifier, context, next) =>
    POSED.test(specifier) && /\/agent\/(main|sleep\/[a-z-]+)\.ts$/.test(context.parentURL ?? "")
      ? next(new URL("posed-sleep.ts", import.meta.url).href, context)
      : next(specifier, context),
});
await import("../../cli/main.ts");
