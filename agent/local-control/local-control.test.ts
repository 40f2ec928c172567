import { existsSync, mkdirSync, statSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { afterAll, afterEach, expect, test } from "vitest";
import { FakeEvents } from "../../test/kit/router-parts.ts";
import { agentParts } from "../../test/kit/agent-parts.ts";
import { tempDir } from "../../test/kit/temp-dir.ts";
import { createLog } from "../../service/log.ts";
import { DEFAULTS } from "../manners/settings.ts";
import { strictest } from "../manners/strictest.ts";
import type { MannersState, OwnersWord } from "../manners/manners.ts";
import { localAddress, localAgents } from "./address.ts";
import { askAgent } from "./ask.ts";
import { serveLocalControl, type LocalControl } from "./server.ts";

const root = tempDir("tiermesh-local-");
const open: LocalControl[] = [];
let count = 0;
afterEach(async () => void (await Promise.all(open.splice(0).map((each) => each.close()))));
afterAll(() => root.remove());

async function agent(env: Record<string, string> = {}, stateDir = join(root.path, `s${count++}`)) {
  const nodeDir = join(stateDir, "agent", "n1");
  mkdirSync(nodeDir, { recursive: true, mode: 0o700 });
  const events = new FakeEvents();
  const said: { word: OwnersWord | undefined; minutes: number | undefined; looks: number; seen: number | undefined } = {
    word: undefined,
    minutes: undefined,
    looks: 0,
    seen: undefined,
  };
  const state: MannersState = { gates: {} as never, heat: {} as never, closed: ["user", "cpu"], sinceMs: 0 };
  const verdict = { state, share: 0, closed: { gate: "user" as const, reason: "its user is active" }, sinceMs: 0 };
  const control = await serveLocalControl({
    env,
    nodeDir,
    nodeId: "n1",
    layer: "L0",
    loaded: {
      profile: "workstation",
      limits: strictest(DEFAULTS.workstation, {}),
      files: ["/a.yaml"],
      warnings: ["w"],
    },
    manners: {
      presence: { seen: (seconds: number) => void (said.seen = seconds) } as never,
      owner: {
        get current() {
          return said.word === undefined ? undefined : { word: said.word, untilUnixMs: null };
        },
        say: (word: OwnersWord, minutes?: number) => void Object.assign(said, { word, minutes }),
        resume: () => void (said.word = undefined),
      } as never,
      watch: {
        verdict,
        app: "game",
        userIdleSeconds: 3,
        look: () => {
          said.looks++;
          return verdict;
        },
      },
    },
    stance: { status: { status: "suspended", reason: "its user is active" } },
    desk: agentParts({ slots: 4 }).desk,
    bus: { connected: () => false },
    events: events as never,
    log: createLog("test", "silent"),
  });
  open.push(control);
  return { control, path: control.path ?? "", events, said, stateDir, nodeDir };
}

test("status says what stops it, the app by its name, and the limits with their files", async () => {
  const { path } = await agent();
  expect(await askAgent(path, { command: "status" })).toMatchObject({
    node_id: "n1",
    profile: "workstation",
    status: "suspended",
    status_reason: "its user is active",
    closed_by: ["user", "cpu"],
    exclusive_app: "game",
    allowed_slots: 0,
    slots: 4,
    owner: null,
    limits: { user_active: false },
    files: ["/a.yaml"],
    warnings: ["w"],
    pid: process.pid,
    bus_connected: false,
  });
});

test("pause, finish and resume take effect at once and are recorded, the same word once", async () => {
  const { path, said, events } = await agent();
  expect(await askAgent(path, { command: "pause", minutes: 30 })).toMatchObject({
    owner: { word: "pause", until: null },
  });
  expect(said).toMatchObject({ word: "pause", minutes: 30, looks: 1 });
  await askAgent(path, { command: "pause" });
  await askAgent(path, { command: "finish" });
  expect(await askAgent(path, { command: "resume" })).toMatchObject({ owner: null });
  expect(said.looks).toBe(4);
  expect(events.of("node_controlled")).toMatchObject([
    { node_id: "n1", command: "owner-pause", reason: null },
    { command: "owner-finish" },
    { command: "owner-resume" },
  ]);
});

test("what a session's helper says is looked at at once, and is no word of the owner", async () => {
  const { path, said, events } = await agent();
  await askAgent(path, { command: "presence", idle_seconds: 12 });
  expect(said).toMatchObject({ seen: 12, looks: 1, word: undefined });
  expect(events.of("node_controlled")).toEqual([]);
});

/** Sends bytes as they are. @returns what comes back until the end */
function raw(path: string, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let said = "";
    const socket = connect(path, () => void socket.write(text));
    socket.setEncoding("utf8").on("data", (piece: string) => (said += piece));
    socket.on("close", () => resolve(said)).on("error", reject);
  });
}

test.each([
  ["no JSON", "hello\n", "one line of JSON"],
  ["no command", '{"command":"loosen"}\n', "command"],
  ["a limit to loosen", '{"command":"resume","user_active":true}\n', "user_active"],
  ["a pause without end", '{"command":"pause","minutes":1e9}\n', "minutes"],
  ["a pause backwards", '{"command":"pause","minutes":-5}\n', "minutes"],
  ["a person of the future", '{"command":"presence","idle_seconds":-1}\n', "idle_seconds"],
  ["a flood", `${"x".repeat(5000)}`, "at most 4 KiB"],
])("%s is answered with an error that names it, and changes nothing", async (_, text, named) => {
  const { path, said } = await agent();
  const reply = await raw(path, text);
  expect(JSON.parse(reply)).toMatchObject({ ok: false, error: { code: "bad_request" } });
  expect(reply).toContain(named);
  expect(said.looks).toBe(0);
});

test.skipIf(process.platform === "win32")(
  "the socket is for its own user alone, and a service's for everybody on the machine",
  async () => {
    const own = await agent();
    expect(own.path).toBe(join(own.nodeDir, "control.sock"));
    expect(statSync(own.path).mode & 0o777).toBe(0o600);
    const run = join(root.path, "run");
    mkdirSync(run);
    const service = await agent({ RUNTIME_DIRECTORY: run });
    expect(service.path).toBe(join(run, "agent-n1.sock"));
    expect(statSync(service.path).mode & 0o777).toBe(0o666);
    expect(localAgents({ TIERMESH_RUN_DIR: run }, own.stateDir)).toEqual([service.path, own.path]);
  },
);

test("nobody there is not an error; what a killed agent left is replaced, a living one is not", async () => {
  const stateDir = join(root.path, `s${count++}`);
  expect(await askAgent(join(root.path, "none.sock"), { command: "status" })).toBeUndefined();
  const first = await agent({}, stateDir);
  const second = await agent({}, stateDir);
  expect(second.control.path).toBeUndefined();
  expect(await askAgent(first.path, { command: "status" })).toMatchObject({ node_id: "n1" });
  await first.control.close();
  expect(existsSync(first.path)).toBe(false);
  const third = await agent({}, stateDir);
  expect(await askAgent(third.path, { command: "status" })).toMatchObject({ node_id: "n1" });
});

test("a folder whose name is too long for a socket has it elsewhere, where both sides find it; Windows has a pipe", () => {
  const nodeDir = join("/", "x".repeat(120), "agent", "n1");
  const { path } = localAddress({}, { nodeDir, nodeId: "n1" }, "linux");
  expect(path.length).toBeLessThan(100);
  expect(path).toMatch(/tiermesh-[0-9a-f]{16}\.sock$/);
  expect(localAddress({}, { nodeDir, nodeId: "n1" }, "win32").path).toMatch(
    /^\\\\\.\\pipe\\tiermesh-agent-n1-[0-9a-f]{16}$/,
  );
});
