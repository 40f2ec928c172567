import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { afterEach, beforeAll, expect, test } from "vitest";
import {
  type EmbeddedBus,
  obtainNatsServer,
  PortHeldError,
  startEmbeddedBus,
  whoHoldsPort,
} from "../../service/bus-server/index.ts";
import { isAlive } from "../../service/process-info.ts";
import { freePorts } from "../kit/process-bus.ts";
import { startProc } from "../kit/proc.ts";
import { type TempDir, tempDir } from "../kit/temp-dir.ts";
import { waitFor } from "../kit/wait-for.ts";

const OWNER = fileURLToPath(new URL("bus-server-owner.ts", import.meta.url));

/** nats-server before 2.10 ends an orderly stop with code 1. */
const inOrder = { code: expect.any(Number), signal: null };

let binary: string;
const toStop: EmbeddedBus[] = [];
const folders: TempDir[] = [];

beforeAll(async () => {
  binary = (await obtainNatsServer({ onProgress: (line) => process.stderr.write(`${line}\n`) })).path;
});

afterEach(async () => {
  await Promise.all(toStop.splice(0).map((bus) => bus.stop()));
  await Promise.all(folders.splice(0).map((folder) => folder.remove()));
});

function folder(): string {
  const dir = tempDir("tiermesh-bus-server-");
  folders.push(dir);
  return dir.path;
}

async function start(
  options: Partial<Parameters<typeof startEmbeddedBus>[0]> & { stateDir: string },
): Promise<EmbeddedBus> {
  const bus = await startEmbeddedBus({ binary, ...options });
  toStop.push(bus);
  return bus;
}

const login = (bus: EmbeddedBus) => connect({ servers: bus.url, user: bus.user, pass: bus.password, reconnect: false });

/** Resolves when the process is gone; there is no event for a process that is not our child. */
async function gone(pid: number): Promise<void> {
  await expect.poll(() => isAlive(pid), { timeout: 15_000, interval: 20 }).toBe(false);
}

test("it answers with JetStream on loopback, to its own credentials only", async () => {
  const bus = await start({ stateDir: folder(), monitorPort: 0 });
  expect(new URL(bus.url).hostname).toBe("127.0.0.1");
  const nc = await login(bus);
  expect(nc.info?.jetstream).toBe(true);
  expect(nc.info?.max_payload).toBe(8 * 1024 * 1024);
  await nc.close();
  await expect(connect({ servers: bus.url, reconnect: false })).rejects.toThrow(/authorization/i);
  await expect(connect({ servers: bus.url, user: bus.user, pass: "wrong", reconnect: false })).rejects.toThrow(
    /authorization/i,
  );
  expect((await fetch(`${bus.monitorUrl}/healthz`)).status).toBe(200);
});

test.skipIf(process.platform === "win32")(
  "the password lies only in files that their owner alone may read",
  async () => {
    const stateDir = folder();
    const log: string[] = [];
    const bus = await start({ stateDir, onLog: (line) => log.push(line) });
    for (const name of ["nats-server.conf", "bus-credentials.json"]) {
      expect(readFileSync(path.join(stateDir, name), "utf8")).toContain(bus.password);
      expect(statSync(path.join(stateDir, name)).mode & 0o777).toBe(0o600);
    }
    await waitFor(() => expect(log.length).toBeGreaterThan(0));
    expect(log.join("\n")).not.toContain(bus.password);
    expect(JSON.stringify(await whoHoldsPort(bus.port))).not.toContain(bus.password);
  },
);

test("credentials, port and stored messages survive an orderly restart and a kill -9 of the server", async () => {
  const stateDir = folder();
  const first = await start({ stateDir });
  const nc = await login(first);
  await (await jetstreamManager(nc)).streams.add({ name: "KEPT", subjects: ["kept.>"] });
  await jetstream(nc).publish("kept.1", "one");
  await nc.close();
  await first.stop();
  expect(await first.exited).toEqual(inOrder);

  const second = await start({ stateDir, port: first.port });
  expect(second.password).toBe(first.password);
  process.kill(second.pid, "SIGKILL");
  expect(await second.exited).toEqual({ code: null, signal: "SIGKILL" });
  await second.stop(); // nothing left to stop, and no error
  expect(isAlive(second.guardianPid)).toBe(false);

  const third = await start({ stateDir, port: first.port });
  expect(third.url).toBe(first.url);
  const again = await login(third);
  const stream = await (await jetstreamManager(again)).streams.info("KEPT");
  expect(stream.state.messages).toBe(1);
  await again.close();
});

test("kill -9 of its owner takes server and guardian with it", async () => {
  const stateDir = folder();
  await using owner = startProc(OWNER, { args: [binary, stateDir] });
  const [, server, guardian, port] = (await owner.waitForLine(/^up (\d+) (\d+) (\d+)/)).map(Number);
  expect([isAlive(server!), isAlive(guardian!)]).toEqual([true, true]);
  owner.kill("SIGKILL");
  await owner.exited;
  await Promise.all([gone(server!), gone(guardian!)]);
  // and the next owner finds a stale lock, a free port and the same data
  const next = await start({ stateDir, port: port! });
  expect(next.port).toBe(port);
});

test("kill -9 of its guardian ends the server, and its owner learns of it", async () => {
  const bus = await start({ stateDir: folder() });
  process.kill(bus.guardianPid, "SIGKILL");
  expect(await bus.exited).toEqual({ code: null, signal: "SIGKILL" });
  expect(isAlive(bus.pid)).toBe(false);
});

test.skipIf(process.platform === "win32")(
  "when owner and guardian are killed together, the next start ends what they left",
  async () => {
    const stateDir = folder();
    await using owner = startProc(OWNER, { args: [binary, stateDir] });
    const [, server, guardian, port] = (await owner.waitForLine(/^up (\d+) (\d+) (\d+)/)).map(Number);
    // Stopped first, so that neither can see the other's end.
    process.kill(guardian!, "SIGSTOP");
    process.kill(owner.pid, "SIGKILL");
    process.kill(guardian!, "SIGKILL");
    await owner.exited;
    expect(isAlive(server!)).toBe(true);
    const next = await start({ stateDir, port: port! });
    expect(isAlive(server!)).toBe(false);
    expect(next.pid).not.toBe(server);
  },
);

test.skipIf(process.platform === "win32")("SIGTERM to the guardian stops the server in order", async () => {
  const bus = await start({ stateDir: folder() });
  process.kill(bus.guardianPid, "SIGTERM");
  expect(await bus.exited).toEqual(inOrder);
});

test.skipIf(process.platform === "win32")(
  "Ctrl-C in its owner's terminal does not reach the server: its owner stops it last",
  async () => {
    const bus = await start({ stateDir: folder() });
    const groupOf = (pid: number) => Number(execFileSync("ps", ["-o", "pgid=", "-p", String(pid)]).toString());
    expect(groupOf(bus.pid)).toBe(bus.guardianPid);
    expect(groupOf(bus.pid)).not.toBe(groupOf(process.pid));
  },
);

test("a port that is taken is refused with who holds it, and the folder is free again", async () => {
  const [port = 0] = await freePorts(1);
  const holder = createServer().listen(port, "127.0.0.1");
  await once(holder, "listening");
  const stateDir = folder();
  const error = await startEmbeddedBus({ binary, stateDir, port }).catch((caught: unknown) => caught);
  expect(error).toBeInstanceOf(PortHeldError);
  expect(error).toMatchObject({ code: "bus_unavailable", port, holder: { pid: process.pid } });
  expect((error as Error).message).toMatch(new RegExp(`^port ${port} is held by pid ${process.pid} \\(`));
  holder.close();
  await once(holder, "close");
  expect((await start({ stateDir, port })).port).toBe(port);
});

test("a second start on the same folder is refused with the first one's process, from this process or another", async () => {
  const stateDir = folder();
  await start({ stateDir });
  await expect(startEmbeddedBus({ binary, stateDir })).rejects.toThrow(`process ${process.pid} already runs the bus`);
  await using other = startProc(OWNER, { args: [binary, stateDir] });
  await other.waitForLine(new RegExp(`process ${process.pid} already runs the bus`));
});

test("an abort stops a running bus", async () => {
  const abort = new AbortController();
  const bus = await start({ stateDir: folder(), signal: abort.signal });
  abort.abort();
  expect(await bus.exited).toEqual(inOrder);
});

test("a program that cannot be started, ends at once or never answers is a typed error that leaves nothing behind", async () => {
  const stateDir = folder();
  const missing = startEmbeddedBus({ binary: path.join(stateDir, "missing"), stateDir });
  await expect(missing).rejects.toMatchObject({
    code: "bus_unavailable",
    message: expect.stringMatching(/cannot be started/),
  });
  // node takes -c (check syntax) and the configuration as a program: it ends at once and complains on standard error
  const wrong = startEmbeddedBus({ binary: process.execPath, stateDir });
  await expect(wrong).rejects.toMatchObject({
    code: "bus_unavailable",
    message: expect.stringMatching(/ended at once/),
  });
  const slow = startEmbeddedBus({ binary, stateDir, readyTimeoutMs: 1 });
  await expect(slow).rejects.toThrow(/did not answer within/);
  expect(existsSync(path.join(stateDir, "bus.lock"))).toBe(false);
  expect((await start({ stateDir })).port).toBeGreaterThan(0);
});

test("credentials that are not credentials are refused by file name", async () => {
  const stateDir = folder();
  writeFileSync(path.join(stateDir, "bus-credentials.json"), "{}");
  await expect(startEmbeddedBus({ binary, stateDir })).rejects.toMatchObject({ code: "bad_config" });
});

test("a folder that cannot be made is refused by name", async () => {
  const file = path.join(folder(), "file");
  writeFileSync(file, "");
  const stateDir = path.join(file, "bus");
  await expect(startEmbeddedBus({ binary, stateDir })).rejects.toMatchObject({
    code: "bad_config",
    message: expect.stringContaining(stateDir),
  });
});
