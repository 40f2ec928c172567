import { registerHooks } from "node:module";

/**
 * `tiermesh …` as it is, but for what its agent sees: its probes' process is the one of posed-probes.ts. The product has no way to be
 * told readings; the module is exchanged here, in the test's own process.
 */
registerHooks({
  resolve: (specifier, context, next) =>
    specifier === "./launch.ts" && context.parentURL?.endsWith("/agent/probes/start.ts") === true
      ? next(new URL("posed-probes.ts", import.meta.url).href, context)
      : next(specifier, context),
});
await import("../../cli/main.ts");
