import { spawn } from "node:child_process";
import { symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { NodeRecord } from "../../bus-schemas/index.ts";
import type { LocalStatus } from "../../agent/local-control/protocol.ts";
import { connectBus, type Bus } from "../../service/bus.ts";
import { createLog } from "../../service/log.ts";
import { SHARED_MODEL, answerOf, startFailoverMesh, type FailoverMesh, type Machine } from "../kit/failover-mesh.ts";
import { eventually, runCli } from "../kit/mesh.ts";

/** Two real agents on one bus, a workstation and a server, whose probes see what the test says. */

const POSED = fileURLToPath(new URL("../kit/posed-agent.child.ts", import.meta.url));
const WORDS = 200;
const HOLD_SECONDS = 2;
/** What is promised for the owner's word, milliseconds. */
const AT_ONCE_MS = 1000;

let mesh: FailoverMesh;
let operator: Bus;
let desk: Machine;
let rack: Machine;
/** Every heartbeat of both, with the time of its arrival. */
const heard: { atMs: number; record: NodeRecord }[] = [];
const endings = new Map<string, string[]>();
const hops = new Map<string, string[]>();
const blamed: string[] = [];
const said: string[] = [];

beforeAll(async () => {
  mesh = await startFailoverMesh(
    ["desk-1", "rack-1"],
    [],
    {},
    {
      entry: POSED,
      prepare: (name, home) => {
        if (name === "rack-1") return {};
        const company = join(home, "company.yaml");
        writeFileSync(company, "user_active: false\n");
        // The owner would like more than the company allows.
        writeFileSync(
          join(home, "agent.yaml"),
          `user_active: true\nexclusive_apps: [posed-game]\nopen_after_seconds: ${HOLD_SECONDS}\n`,
        );
        return { TIERMESH_PROFILE: "workstation", TIERMESH_AGENT_POLICY: company };
      },
    },
  );
  [desk, rack] = [mesh.machine("desk-1"), mesh.machine("rack-1")];
  mesh.client.nodes.onChange((record) => {
    if (record.node_id !== "here") heard.push({ atMs: performance.now(), record });
  });
  operator = await connectBus("operator", mesh.mesh.address, createLog("test", "silent"));
  operator.listen(operator.subjects.events, (msg) => {
    const event = msg.json<Record<string, string>>();
    const { job_id: id = "", status = "", from_node_id: from = "" } = event;
    if (msg.subject.includes(".job_ended.")) endings.set(id, [...(endings.get(id) ?? []), status]);
    if (msg.subject.includes(".job_redispatched.")) hops.set(id, [...(hops.get(id) ?? []), from]);
    if (/\.node_(ejected|lost|left)\./.test(msg.subject)) blamed.push(msg.subject);
    if (msg.subject.includes(".node_controlled.")) said.push(event["command"] ?? "");
  });
  await operator.nc.flush();
});
afterAll(async () => {
  await operator.drain();
  await mesh[Symbol.asyncDispose]();
});

const stateOf = (name: string) => mesh.client.nodes.list().find(({ record }) => record.node_id === name)?.state;
const sees = (machine: Machine, readings: object) => machine.agent.write(`${JSON.stringify(readings)}\n`);
const owner = async (...args: string[]) => {
  const { code, out, err } = await runCli({ ...mesh.mesh.env, TIERMESH_HOME: desk.home }, "agent", ...args, "--json");
  if (code !== 0) throw new Error(err);
  const said = JSON.parse(out) as LocalStatus[] | { agents: LocalStatus[] };
  return (Array.isArray(said) ? said : said.agents)[0] as LocalStatus;
};

/** The first heartbeat since `fromMs` that is meant. */
const heartbeat = (name: string, fromMs: number, meant: (record: NodeRecord) => boolean) =>
  eventually(`a heartbeat of ${name}`, () =>
    heard.find(({ atMs, record }) => atMs >= fromMs && record.node_id === name && meant(record)),
  );
const short = (record: NodeRecord) => {
  const { status, status_reason: why, profile, allowed_slots: slots, hardware, load } = record;
  return `${record.node_id} (${profile}) ${status}${why === null ? "" : `: ${why}`}, ${load?.running} running, ${slots} slots allowed, user idle ${hardware.user_idle_seconds} s`;
};

interface Moved {
  jobId: string;
  /** That it began on, and that it ended on. */
  nodes: (string | null)[];
  text: string;
  /** From the strike to the first heartbeat that says so, milliseconds. */
  toldMs: number;
  reason: string | null;
}

/** Has the workstation begin a long answer, takes the machine back in the middle of it, and follows it to its end. */
async function movedBy(level: string, takeBack: () => void | Promise<unknown>): Promise<Moved> {
  await mesh.allReady();
  await mesh.mesh.run("node", "cordon", "rack-1", "--reason", "so that the workstation gets the job");
  await eventually("rack-1 cordoned", () => stateOf("rack-1") === "cordoned");
  const moved: Moved = { jobId: "", nodes: [], text: "", toldMs: 0, reason: null };
  let pieces = 0;
  let struck: Promise<void> | undefined;
  const strike = async () => {
    await mesh.mesh.run("node", "resume", "rack-1");
    await eventually("rack-1 ready", () => stateOf("rack-1") === "ready");
    const fromMs = performance.now();
    const done = takeBack();
    const first = await heartbeat("desk-1", fromMs, ({ status }) => status === "suspended");
    Object.assign(moved, { toldMs: first.atMs - fromMs, reason: first.record.status_reason });
    await done;
  };
  const prompt = `words=${WORDS} every=30 first=0`;
  const request = { prompt, model: SHARED_MODEL, security_level: level, timeout_ms: 60_000 };
  for await (const frame of mesh.client.stream(request)) {
    if (frame.type === "accepted") {
      moved.jobId = frame.job_id;
      moved.nodes.push(frame.node_id);
    }
    if (frame.type === "delta") {
      pieces++;
      moved.text += frame.content ?? "";
    }
    if (frame.type === "end") moved.nodes.push(frame.node_id);
    if (pieces >= 5) struck ??= strike();
  }
  await struck;
  return moved;
}

async function expectMoved({ jobId, nodes, text }: Moved): Promise<void> {
  expect(nodes).toEqual(["desk-1", "rack-1"]);
  expect(text).toBe(answerOf(WORDS));
  await eventually("the record", () => (endings.get(jobId)?.length ?? 0) > 0);
  await operator.nc.flush();
  expect([endings.get(jobId), hops.get(jobId)]).toEqual([["finished"], ["desk-1"]]);
}

test("the user comes back: the workstation is suspended with the reason within a second, and its job goes on at the server", async () => {
  const moved = await movedBy("P2", () => {
    sees(desk, { user_idle_seconds: 0 });
    // The same person, at a machine that is nobody's.
    sees(rack, { user_idle_seconds: 0 });
  });
  console.log(`${moved.reason}: heard ${Math.round(moved.toldMs)} ms after it`);
  expect(moved.toldMs).toBeLessThan(AT_ONCE_MS);
  expect(moved.reason).toBe("its user is active");
  await expectMoved(moved);
  const server = await heartbeat("rack-1", 0, ({ hardware }) => hardware.user_idle_seconds === 0);
  expect(server.record).toMatchObject({ status: "healthy", profile: "server", status_reason: null });
  const [there] = await mesh.mesh
    .run("nodes")
    .then(({ out }) => out.split("\n").filter((line) => line.includes("desk-1")));
  expect(there).toContain("suspended: its user is active");
  expect(blamed).toEqual([]);
});

test("while it is suspended nothing is sent there, and what is sent all the same is refused as the heartbeat says", async () => {
  const { status, node_id: node } = await mesh.client.submit({
    prompt: "words=3",
    model: SHARED_MODEL,
    security_level: "P2",
  });
  expect([status, node]).toEqual(["finished", "rack-1"]);
  const { out } = await mesh.mesh.run("route", "--class", "P2", "--model", SHARED_MODEL, "--explain");
  expect(out).toMatch(/desk-1.*is suspended: its user is active/);
});

test("the user leaves: ready again when that has lasted for the hold time, not before", async () => {
  const fromMs = performance.now();
  sees(desk, { user_idle_seconds: 4000 });
  const back = await heartbeat("desk-1", fromMs, ({ status }) => status === "healthy");
  expect(back.atMs - fromMs).toBeGreaterThanOrEqual(HOLD_SECONDS * 1000);
  expect(back.record).toMatchObject({ status_reason: null, profile: "workstation" });
  expect(back.record.allowed_slots).toBeGreaterThan(0);
  await eventually("desk-1 ready", () => stateOf("desk-1") === "ready");
  // One line for each change, as docs/agent.md shows it.
  const lines: string[] = [];
  const last = new Map<string, string>();
  for (const { atMs, record } of heard) {
    const line = short(record);
    if (last.get(record.node_id) !== line)
      lines.push(`${((atMs - (heard[0]?.atMs ?? 0)) / 1000).toFixed(2).padStart(6)} s  ${line}`);
    last.set(record.node_id, line);
  }
  console.log(lines.join("\n"));
});

test("the owner pauses it without bus or key: within a second its sealed job is on its way to the server, until resumed", async () => {
  let paused: LocalStatus | undefined;
  const moved = await movedBy("P0", async () => (paused = await owner("pause", "--minutes", "30")));
  await expectMoved(moved);
  expect(moved.reason).toBe("its owner has paused it");
  expect(paused).toMatchObject({ status: "suspended", owner: { word: "pause" }, allowed_slots: 0 });
  const sinceMs = Date.parse(paused?.since ?? "");
  const endedMs = Date.parse(paused?.owner?.until ?? "") - 30 * 60_000;
  expect(Math.abs(sinceMs - endedMs)).toBeLessThan(AT_ONCE_MS);
  // What the company does not allow is not allowed by this way either, and is told.
  expect(paused?.limits["user_active"]).toBe(false);
  expect(paused?.warnings.join()).toContain("user_active is looser than the company's");
  const resumedMs = performance.now();
  expect(await owner("resume")).toMatchObject({ status: "healthy", owner: null });
  await heartbeat("desk-1", resumedMs, ({ status }) => status === "healthy");
  await eventually("the record", () => said.includes("owner-resume"));
  expect(said.filter((command) => command.startsWith("owner-"))).toEqual(["owner-pause", "owner-resume"]);
});

test("an operator suspends it: what it runs moves too, its reason is theirs, and the owner cannot take it back", async () => {
  const moved = await movedBy("P2", () =>
    mesh.mesh.run("node", "suspend", "desk-1", "--reason", "a talk is given on it"),
  );
  await expectMoved(moved);
  expect(moved.reason).toBe("a talk is given on it");
  expect(await owner("resume")).toMatchObject({ status: "suspended", status_reason: "a talk is given on it" });
  const fromMs = performance.now();
  expect((await mesh.mesh.run("node", "resume", "desk-1", "--json")).code).toBe(0);
  await heartbeat("desk-1", fromMs, ({ status }) => status === "healthy");
  expect((await mesh.mesh.run("status")).out).toMatch(/agent .*here takes jobs/);
  expect(blamed).toEqual([]);
});

test.skipIf(process.platform === "win32")(
  "a program that wants the machine to itself has it, and the mesh is not told which",
  async () => {
    const game = join(desk.home, "posed-game");
    symlinkSync(process.execPath, game);
    const fromMs = performance.now();
    const running = spawn(game, ["-e", "setTimeout(() => undefined, 600_000)"]);
    try {
      const { record } = await heartbeat("desk-1", fromMs, ({ status }) => status === "suspended");
      expect(record.status_reason).toBe("an app runs that has the machine to itself");
      expect(JSON.stringify(record)).not.toContain("posed-game");
      expect(await owner("status")).toMatchObject({ exclusive_app: "posed-game", closed_by: ["app"] });
    } finally {
      running.kill("SIGKILL");
    }
    await heartbeat("desk-1", performance.now(), ({ status }) => status === "healthy");
  },
);

test("heat takes slots before it takes the node: fewer in the heartbeat first, then suspended with the limit", async () => {
  const fromMs = performance.now();
  sees(desk, { temperature_celsius: 81 });
  const warm = await heartbeat("desk-1", fromMs, ({ allowed_slots: slots }) => slots === 10);
  expect(warm.record).toMatchObject({ status: "healthy", load: { slots: 10 }, runtimes: [{ slots: 16 }] });
  sees(desk, { temperature_celsius: 91 });
  const hot = await heartbeat("desk-1", fromMs, ({ status }) => status === "suspended");
  expect(hot.record.status_reason).toBe("its processor is too hot (limit 90 °C)");
  sees(desk, { temperature_celsius: 40 });
  const cool = await heartbeat("desk-1", hot.atMs, ({ status }) => status === "healthy");
  expect(cool.record.allowed_slots).toBe(5);
  await heartbeat("desk-1", cool.atMs, ({ allowed_slots: slots }) => slots === 16);
  await mesh.allReady();
});
