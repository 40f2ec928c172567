#!/usr/bin/env node
// The `tiermesh` command on any Node: hands over to cli/main.ts under the pinned Node 24. Node built-ins only.
import { join } from "node:path";
import { findNode, pinnedVersion, root, runWith } from "../scripts/pinned-node.mjs";

const node = findNode();
if (node) await runWith(node, join(root, "cli", "main.ts"), process.argv.slice(2));
else {
  process.stderr.write(
    `tiermesh: needs Node ${pinnedVersion}, this is ${process.version}; \`npm start\` in ${root} fetches it, nothing else is changed.\n`,
  );
  process.exitCode = 1;
}
