import { mkdirSync } from "node:fs";
import { createServer } from "node:net";
import path from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { CommandRunner } from "../../agent/probes/command.ts";
import { createHost } from "../../agent/probes/host.ts";
import { tempDir } from "../../test/kit/temp-dir.ts";
import { tellPresence } from "./presence.ts";

test.skipIf(process.platform === "win32")(
  "says to the agents of the machine how long ago somebody was there, as macOS tells it",
  async () => {
    const folder = tempDir("tiermesh-presence-");
    onTestFinished(() => folder.remove());
    const dir = path.join(folder.path, "agent", "n1");
    mkdirSync(dir, { recursive: true });
    const heard = Promise.withResolvers<unknown>();
    const server = createServer((socket) => {
      socket.on("data", (data) => {
        heard.resolve(JSON.parse(data.toString()));
        socket.end();
      });
    });
    onTestFinished(() => void server.close());
    await new Promise<void>((resolve) => server.listen(path.join(dir, "control.sock"), resolve));
    const env = { TIERMESH_HOME: folder.path, TIERMESH_RUN_DIR: folder.path };
    const host = {
      ...createHost({ stateDir: folder.path, commands: new CommandRunner() }),
      platform: "darwin" as const,
      run: async () => ({ code: 0, stdout: '  | |   "HIDIdleTime" = 4500000000\n', stderr: "" }),
    };
    const stop = new AbortController();
    const done = tellPresence(env, stop.signal, { host: host as never });
    expect(await heard.promise).toEqual({ command: "presence", idle_seconds: 5 });
    stop.abort();
    await done;
  },
);
