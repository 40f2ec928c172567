import path from "node:path";
import { expect, test } from "vitest";
import { THRIFTY_ENV, THRIFTY_FLAGS } from "../../agent/thrift.ts";
import { MeshClient } from "../../client/index.ts";
import { bundleAgent } from "../../scripts/agent-bundle.ts";
import { busAddress, busEnv } from "../bench/bus-address.ts";
import { startTestBus } from "../kit/bus.ts";
import { startProc } from "../kit/proc.ts";
import { tempDir } from "../kit/temp-dir.ts";

test("the bundled agent starts its thread and its process from its own folder, tells what it has, and ends when told", async () => {
  await using stack = new AsyncDisposableStack();
  const folder = tempDir("tiermesh-bundle-");
  stack.defer(() => folder.remove());
  await bundleAgent(folder.path);
  const bus = stack.use(await startTestBus());
  const agent = stack.use(
    startProc(path.join(folder.path, "main.js"), {
      nodeFlags: THRIFTY_FLAGS,
      env: {
        ...busEnv(bus),
        ...THRIFTY_ENV,
        TIERMESH_NODE_ID: "bundled",
        TIERMESH_HOME: path.join(folder.path, "home"),
        TIERMESH_CACHE_DIR: path.join(folder.path, "cache"),
        TIERMESH_EMBEDDED: "off",
        TIERMESH_LOOPBACK: "true",
        TIERMESH_PROFILE: "server",
      },
    }),
  );
  const client = stack.adopt(await MeshClient.connect(busAddress(bus)), (open) => open.close());
  // The model is the work thread's word, the memory that of the probes' process.
  const record = await client.nodes.ready(
    ({ models, hardware }) => models.length > 0 && hardware.memory_gb !== null,
    AbortSignal.timeout(30_000),
  );
  expect(record).toMatchObject({ node_id: "bundled", status: "healthy", hardware: { platform: process.platform } });
  agent.kill();
  expect(await agent.exited).toEqual({ code: 0, signal: null });
});
