/**
 * Writes who may do what on the bus into docs/security.md and docs/security.zh-CN.md, between their markers, from the
 * templates that the broker's accounts are made of. `--check` writes nothing and exits 1 when a page is stale.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { CHINESE } from "./permission-table-zh.ts";
import { ENGLISH, permissionTables } from "./permission-table.ts";

const BEGIN = "<!-- permissions: written by npm run schemas, do not edit -->";
const END = "<!-- permissions end -->";

const folderFlag = process.argv.indexOf("--folder");
const folder =
  folderFlag === -1 ? join(import.meta.dirname, "..", "docs") : resolve(process.argv[folderFlag + 1] ?? "");
const pages = new Map([
  [join(folder, "security.md"), ENGLISH],
  [join(folder, "security.zh-CN.md"), CHINESE],
]);

for (const [file, wording] of pages) {
  const text = readFileSync(file, "utf8");
  const [from, to] = [text.indexOf(BEGIN), text.indexOf(END)];
  if (from === -1 || to < from) {
    console.error(`${file}: has no place for the table, between ${BEGIN} and ${END}`);
    process.exitCode = 1;
    continue;
  }
  // Its lines are too long to be laid out in columns by the formatter.
  const tables = `<!-- prettier-ignore-start -->\n\n${permissionTables(wording)}\n<!-- prettier-ignore-end -->`;
  const wanted = `${text.slice(0, from)}${BEGIN}\n${tables}\n${text.slice(to)}`;
  if (wanted === text) continue;
  if (process.argv.includes("--check")) {
    console.error(`stale: ${file}\nIts table is not that of bus-schemas/permissions.ts. Run: npm run schemas`);
    process.exitCode = 1;
  } else {
    writeFileSync(file, wanted);
    console.log(`the table of permissions: ${file}`);
  }
}
