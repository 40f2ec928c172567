/**
 * The files that an agent starts as a thread or a process of its own, by what they do. The only place that knows where they are:
 * beside this file in the source, and beside each other, by these names, in a bundle (scripts/build-agent.ts).
 */
export const ENTRIES = {
  work: "work/worker.ts",
  probes: "probes/worker.ts",
  embedded: "embedded/server.ts",
} as const;

/** In a bundle this module is a part of a `.js` file. */
const bundled = !import.meta.url.endsWith(".ts");

/** Where to start it from. */
export function entryUrl(name: keyof typeof ENTRIES): URL {
  return new URL(bundled ? `${name}.js` : ENTRIES[name], import.meta.url);
}
