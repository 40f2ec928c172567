// What `npm start` and `npm test` run on whatever Node the machine has: install if needed, then go on under the pinned Node.
// Node built-ins only.
import { join } from "node:path";
import { ensureInstalled } from "./install.mjs";
import { root, runWith } from "./pinned-node.mjs";

/** What is run after the installation; nothing for `install`. */
const ways = { start: ["cli/main.ts", "up"], test: ["scripts/test.ts"], install: [] };
const [way = "", ...args] = process.argv.slice(2);

async function main() {
  if (!Object.keys(ways).includes(way)) {
    process.stderr.write(`usage: node scripts/bootstrap.mjs ${Object.keys(ways).join("|")} [arguments]\n`);
    return 2;
  }
  let node;
  try {
    node = await ensureInstalled();
  } catch (error) {
    process.stderr.write(`tiermesh: ${error.message}\n`);
    return 1;
  }
  const [file, ...first] = ways[way];
  if (file) await runWith(node, join(root, file), [...first, ...args]);
  return undefined;
}

const code = await main();
if (code !== undefined) process.exitCode = code;
