/**
 * `npm run cluster`: the mesh of several hosts on this one machine until Ctrl-C, with runtimes that only pretend. What runs is
 * what deploy/README.md describes; where it runs is test/kit/hosts.ts.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { ClusterMesh } from "../test/kit/cluster-mesh.ts";

const say = (line: string) => process.stdout.write(`${line}\n`);
const stopped = new Promise<void>((resolve) => {
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => resolve());
});
const folder = mkdtempSync(path.join(tmpdir(), "tiermesh-cluster-"));
say("three servers, three routers, two gateways, the auditor, three nodes; a moment …");
const mesh = await ClusterMesh.start({ folder, tag: `tl${process.pid % 10_000}`, logLevel: "INFO" });
say(mesh.shared === undefined ? "each host in a network of its own" : `all hosts in one network: ${mesh.shared}`);
for (const { name, host, pid } of mesh.parts.values()) say(`  ${host.name} ${host.address}  ${name}  process ${pid}`);
say(`
answers here are made up by pretended runtimes; everything else is the product
  curl ${mesh.gatewayUrls[0]}/health
  TIERMESH_HOME=${mesh.home("operator")} npx tiermesh nodes
  TIERMESH_HOME=${mesh.home("operator")} npx tiermesh submit --class P0 "Hello"
logs in ${path.join(folder, "logs")}; Ctrl-C stops and removes all of it`);
await stopped;
await mesh.stop();
rmSync(folder, { recursive: true, force: true });
