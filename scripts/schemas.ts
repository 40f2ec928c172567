/**
 * Writes docs/schemas: JSON Schemas and the AsyncAPI document, made from the zod schemas of bus-schemas/.
 * `--check` writes nothing and exits 1 when a file is stale, missing or left over.
 */
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { PUBLISHED_SCHEMAS, asyncapi, jsonSchema } from "../bus-schemas/index.ts";
import { VERSION } from "../service/version.ts";

const folderFlag = process.argv.indexOf("--folder");
const folder =
  folderFlag === -1 ? join(import.meta.dirname, "..", "docs", "schemas") : resolve(process.argv[folderFlag + 1] ?? "");

const wanted = new Map([["asyncapi.json", asyncapi(VERSION)]]);
for (const [name, schema] of Object.entries(PUBLISHED_SCHEMAS)) {
  wanted.set(`${name}.json`, { ...jsonSchema(name, schema) });
}

mkdirSync(folder, { recursive: true });
const leftOver = readdirSync(folder).filter((file) => file.endsWith(".json") && !wanted.has(file));
const stale = [...wanted]
  .filter(([file, content]) => read(join(folder, file)) !== print(content))
  .map(([file]) => file);

if (process.argv.includes("--check")) {
  for (const file of [...stale, ...leftOver]) console.error(`stale: ${join(folder, file)}`);
  if (stale.length + leftOver.length > 0) {
    console.error("The schemas in docs/schemas are not those of bus-schemas/. Run: npm run schemas");
    process.exitCode = 1;
  }
} else {
  for (const file of leftOver) rmSync(join(folder, file));
  for (const file of stale) writeFileSync(join(folder, file), print(wanted.get(file)));
  console.log(`${wanted.size} schemas, ${stale.length} written, ${leftOver.length} removed: ${folder}`);
}

function print(content: unknown): string {
  return `${JSON.stringify(content, null, 2)}\n`;
}

function read(file: string): string | undefined {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return undefined;
  }
}
