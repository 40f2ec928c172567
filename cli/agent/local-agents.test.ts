import { mkdirSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { MeshError } from "../../bus-schemas/index.ts";
import type { LocalReply } from "../../agent/local-control/protocol.ts";
import { localStatus } from "../../test/kit/local-status.ts";
import { tempDir } from "../../test/kit/temp-dir.ts";
import { askLocalAgents } from "./local-agents.ts";

const home = tempDir("tm-local-");
const servers: Server[] = [];
afterAll(async () => {
  for (const server of servers) server.close();
  await home.remove();
});

const env = { TIERMESH_HOME: home.path, TIERMESH_RUN_DIR: join(home.path, "run") };
const asked: string[] = [];

/** An agent of this name, or one that refuses. */
function agent(name: string, refuses = false): Promise<void> {
  const folder = join(home.path, "agent", name);
  mkdirSync(folder, { recursive: true });
  const status = localStatus({ node_id: name, layer: "L0" });
  const reply: LocalReply = refuses
    ? { ok: false, error: new MeshError("bad_request", "no").toWire() }
    : { ok: true, agent: status };
  const server = createServer((socket) => {
    socket.on("data", (data) => {
      asked.push(`${name} ${(JSON.parse(data.toString()) as { command: string }).command}`);
      socket.end(JSON.stringify(reply));
    });
  });
  servers.push(server);
  return new Promise((resolve) => server.listen(join(folder, "control.sock"), resolve));
}

test.skipIf(process.platform === "win32")(
  "all agents of the machine are asked, or the one of that name; none, and one that refuses, are errors",
  async () => {
    await expect(askLocalAgents(env, { command: "status" }, undefined)).rejects.toThrow(
      /no agent runs on this machine/,
    );
    // A folder without an agent, as one that was stopped leaves it.
    mkdirSync(join(home.path, "agent", "stopped"), { recursive: true });
    await agent("n1");
    await agent("n2");
    const ids = async (node?: string) =>
      (await askLocalAgents(env, { command: "pause" }, node)).map(({ node_id: id }) => id);
    expect(await ids()).toEqual(["n1", "n2"]);
    asked.length = 0;
    expect(await ids("n2")).toEqual(["n2"]);
    expect(asked.toSorted()).toEqual(["n1 status", "n2 pause", "n2 status"]);
    await expect(ids("n9")).rejects.toMatchObject({ code: "not_found", field: "node" });
    await agent("n3", true);
    await expect(ids()).rejects.toMatchObject({ code: "bad_request" });
    expect(await ids("n1")).toEqual(["n1"]);
  },
);
