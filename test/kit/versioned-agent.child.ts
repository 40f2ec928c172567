import { registerHooks } from "node:module";

/** `tiermesh …` as it is, but for its version, which the product takes from package.json: here the test says it, in TEST_VERSION. */
registerHooks({
  load: (url, context, next) =>
    url.endsWith("/service/version.ts")
      ? {
          format: "module",
          shortCircuit: true,
          source: `export const VERSION = ${JSON.stringify(process.env["TEST_VERSION"] ?? "0.0.0")};`,
        }
      : next(url, context),
});
await import("../../cli/main.ts");
