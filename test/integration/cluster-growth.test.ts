import { existsSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { expect, onTestFinished, test } from "vitest";
import { eventually, runCli } from "../kit/mesh.ts";
import { startProc, type Proc } from "../kit/proc.ts";
import { freePorts } from "../kit/process-bus.ts";
import { tempDir } from "../kit/temp-dir.ts";

const MAIN = fileURLToPath(new URL("../../cli/main.ts", import.meta.url));

// Loopback addresses beside 127.0.0.1 are there without asking on Linux only.
test.skipIf(process.platform !== "linux")(
  "a bus that ran alone takes its nodes and its policy into its cluster",
  async () => {
    const folder = tempDir("tiermesh-growth-");
    onTestFinished(() => folder.remove());
    const [port = 0, route = 0] = await freePorts(2);
    const home = path.join(folder.path, "lone");
    const env = { TIERMESH_HOME: home, TIERMESH_NATS_URL: "" };
    const tiermesh = async (...args: string[]) => {
      const { code, err, out } = await runCli(env, ...args);
      expect([args, code, err]).toEqual([args, 0, expect.any(String)]);
      return out;
    };
    const start = (state: string): Proc => {
      const proc = startProc(MAIN, { args: ["bus", "run", "--json"], env: { ...env, TIERMESH_HOME: state } });
      onTestFinished(() => proc[Symbol.asyncDispose]());
      return proc;
    };

    await tiermesh("bus", "init", "--host", "127.0.0.31", "--port", String(port));
    const lone = start(home);
    await lone.waitForLine(/"event":"ready"/, 30_000);
    await tiermesh("node", "add", "gpu-1", "--layer", "L1");
    const policy = await tiermesh("policy", "show");
    lone.kill("SIGTERM");
    await lone.exited;

    const routes = ["127.0.0.31", "127.0.0.32", "127.0.0.33"].map((host) => `${host}:${route}`).join(",");
    const cluster = ["bus", "init", "--cluster", "grown", "--server", "n1", "--routes", routes];
    await tiermesh(...cluster);
    const bundle = path.join(folder.path, "bundle");
    await tiermesh(...cluster, "--port", String(port), "--out", bundle, "--from", path.join(home, "bus"));
    const servers = [home, path.join(bundle, "n2"), path.join(bundle, "n3")].map(start);
    for (const server of servers) await server.waitForLine(/"event":"ready"/, 40_000);

    expect(JSON.parse(await tiermesh("node", "list", "--json"))).toMatchObject([
      { node_id: "gpu-1", state: "pending" },
    ]);
    expect(await tiermesh("policy", "show")).toBe(policy);
    expect(existsSync(path.join(home, "bus", "jetstream.before-cluster"))).toBe(true);
    await eventually("three replicas", () =>
      servers.some((server) => server.errors.some((line) => line.includes("now held by 3 servers"))),
    );
  },
  120_000,
);
