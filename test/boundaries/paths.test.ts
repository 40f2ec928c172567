/**
 * `no-restricted-imports` sees import and export declarations. This reads what it does not see: `import("…")` (also in types) and
 * `new URL("…", import.meta.url)`, the way to start a thread or process by path. They follow the same arrows.
 */
import { readFileSync, readdirSync } from "node:fs";
import { join, posix, sep } from "node:path";
import { expect, test } from "vitest";

const root = join(import.meta.dirname, "..", "..");
const bottom = ["bus-schemas"];
const middle = [...bottom, "service", "client"];
/** Folder → the folders that it may name, besides itself. */
const arrows: Record<string, string[]> = {
  "bus-schemas": [],
  service: bottom,
  client: [...bottom, "service"],
  agent: middle,
  router: middle,
  monitor: middle,
  gateway: [...middle, "router/policy"],
  auditor: [...middle, "router/policy"],
  cli: [...middle, "agent", "router", "gateway", "auditor", "monitor", "."],
};

/** The paths in `text`, a file at `file`, that cross an arrow: relative to the root, in the order in which they appear. */
function crossings(file: string, text: string): string[] {
  const own = file.split("/")[0] ?? "";
  // cli may also name the root itself, where it starts the parts.
  const allowed = [own, ...(arrows[own] ?? [])];
  return [...text.matchAll(/(?:\bimport|\bnew URL|\bimport\.meta\.resolve)\(\s*["'`](\.[^"'`]*)["'`]/g)]
    .map((match) => posix.join(posix.dirname(file), match[1] ?? ""))
    .filter((target) => !allowed.some((folder) => target === folder || target.startsWith(`${folder}/`)));
}

test("a dynamic import, an import type and a path to start are seen when they cross an arrow", () => {
  const text = `
    await import("../router/fleet.ts");
    type Server = import("../gateway/server.ts").Server;
    new Worker(new URL("../../monitor/main.ts", import.meta.url));
    await import("./probes/index.ts");
    new URL("../service/log.ts", import.meta.url);
  `;
  expect(crossings("agent/main.ts", text)).toEqual(["router/fleet.ts", "gateway/server.ts", "../monitor/main.ts"]);
  expect(crossings("auditor/replay.ts", 'import("../router/policy/decide.ts"); import("../router/view.ts")')).toEqual([
    "router/view.ts",
  ]);
});

test("no source crosses an arrow by a dynamic import or a path", () => {
  const found = Object.keys(arrows)
    .filter((folder) => readdirSync(root).includes(folder))
    .flatMap((folder) =>
      readdirSync(join(root, folder), { recursive: true, encoding: "utf8" }).map((path) =>
        [folder, ...path.split(sep)].join("/"),
      ),
    )
    .filter((file) => file.endsWith(".ts") && !file.endsWith(".test.ts"))
    .flatMap((file) => crossings(file, readFileSync(join(root, file), "utf8")).map((target) => `${file} → ${target}`));
  expect(found).toEqual([]);
});
