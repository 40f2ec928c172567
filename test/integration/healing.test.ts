import { createServer, type AddressInfo } from "node:net";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { NodeRecord } from "../../bus-schemas/index.ts";
import { connectBus, type Bus } from "../../service/bus.ts";
import { createLog } from "../../service/log.ts";
import { isAlive } from "../../service/process-info.ts";
import { startFailoverMesh, type FailoverMesh, type Machine } from "../kit/failover-mesh.ts";
import { isLoopbackSocket, listeningSockets } from "../kit/listening.ts";
import { descendants, eventually } from "../kit/mesh.ts";
import { freePorts } from "../kit/process-bus.ts";

/** A real agent that keeps a runtime of its own running, and whose probes see the GPUs that the test says. */

const POSED = fileURLToPath(new URL("../kit/posed-agent.child.ts", import.meta.url));
const RUNTIME = fileURLToPath(new URL("../kit/answering-runtime.child.ts", import.meta.url));
const CARD = { name: "H200", index: 0, uuid: "GPU-1", pci_address: "0000:65:00.0", vram_total_gb: 140 };

let mesh: FailoverMesh;
let machine: Machine;
let operator: Bus;
let folder = "";
const events: { type: string; data: Record<string, unknown> }[] = [];

beforeAll(async () => {
  const [port = 0] = await freePorts(1);
  mesh = await startFailoverMesh(
    ["gpu-1"],
    [],
    {},
    {
      entry: POSED,
      prepare: (_, home) => {
        folder = join(home, "agent", "gpu-1", "runtimes");
        const command = JSON.stringify([process.execPath, RUNTIME, "managed", String(port)]);
        writeFileSync(
          join(home, "agent.yaml"),
          `managed_runtimes:\n  mine: {url: "http://127.0.0.1:${port}", command: ${command}, silent_seconds: 2, start_seconds: 10}\n`,
        );
        return {};
      },
    },
  );
  machine = mesh.machine("gpu-1");
  operator = await connectBus("operator", mesh.mesh.address, createLog("test", "silent"));
  operator.listen(operator.subjects.events, (msg) => {
    events.push({ type: msg.subject.split(".")[3] ?? "", data: msg.json() });
  });
  await operator.nc.flush();
});
afterAll(async () => {
  // The kit kills agents, and one that is killed leaves its runtime to its next life.
  const left = existsSync(join(folder, "mine.pid")) ? managedPid() : undefined;
  await operator?.drain();
  await mesh?.[Symbol.asyncDispose]();
  if (left !== undefined && isAlive(left)) process.kill(left, "SIGKILL");
});

const seen = () => mesh.client.nodes.list().find(({ record }) => record.node_id === "gpu-1");
const record = (what: string, meant: (record: NodeRecord) => boolean) =>
  eventually(what, () => {
    const found = seen()?.record;
    return found !== undefined && meant(found) && found;
  });
const serves = (what: string) =>
  record(what, ({ runtimes, served_models: models }) =>
    models.some(
      ({ name, runtime }) => name === "managed" && runtimes.some((one) => one.name === runtime && one.healthy),
    ),
  );
const managedPid = () => (JSON.parse(readFileSync(join(folder, "mine.pid"), "utf8")) as { pid: number }).pid;
const restarts = () => events.filter(({ type }) => type === "runtime_restarted").map(({ data }) => data);

test("a runtime that ends and one that hangs are restarted, with the cause in the record", async () => {
  await serves("started by the agent");
  const first = managedPid();
  process.kill(first, "SIGKILL");
  await eventually("restarted", () => restarts().length === 1);
  expect(restarts()[0]).toEqual({ node_id: "gpu-1", runtime: "mine", cause: "exit", attempt: 1, reason: "SIGKILL" });
  await serves("again");
  const second = managedPid();
  expect(second).not.toBe(first);
  process.kill(second, "SIGSTOP");
  await eventually("restarted again", () => restarts().length === 2, 30_000);
  expect(restarts()[1]).toMatchObject({ cause: "silence", attempt: 2 });
  await serves("once more");
  expect(isAlive(second)).toBe(false);
});

test("an operator restarts a managed runtime by its name, and is told of one that is not managed", async () => {
  const before = managedPid();
  const { code, out } = await mesh.mesh.run(
    "node",
    "restart-runtime",
    "gpu-1",
    "mine",
    "--reason",
    "new flags",
    "--json",
  );
  expect([code, JSON.parse(out)]).toEqual([
    0,
    { command: "restart-runtime", runtime: "mine", reason: "new flags", node_id: "gpu-1", ok: true },
  ]);
  expect(managedPid()).not.toBe(before);
  await eventually("recorded", () => restarts().some(({ cause }) => cause === "operator"));
  expect(restarts().at(-1)).toMatchObject({ runtime: "mine", reason: "new flags" });
  const other = seen()?.record.served_models.find(({ name }) => name === "shared")?.runtime ?? "";
  const refused = await mesh.mesh.run("node", "restart-runtime", "gpu-1", other, "--json");
  expect(refused).toMatchObject({ code: 1, err: expect.stringContaining("managed_runtimes") });
  expect(JSON.parse(refused.out)).toMatchObject({ error: { code: "not_supported", field: "runtime" } });
  const none = await mesh.mesh.run("node", "restart-runtime", "gpu-1", "nothing");
  expect(none).toMatchObject({ code: 1, err: expect.stringContaining("it manages mine") });
});

test("a GPU with an Xid error takes its node out of use, everybody is told why, and an operator takes it back", async () => {
  const sees = (readings: object) => machine.agent.write(`${JSON.stringify(readings)}\n`);
  await serves("both runtimes there");
  sees({ gpus: [CARD] });
  await record("the card", ({ hardware }) => hardware.gpus.length === 1);
  sees({ faults: [{ id: "kmsg-7", pci_address: CARD.pci_address, uuid: null, xid: 79 }] });
  const sick = await record("sick", ({ status }) => status === "degraded");
  expect(sick.status_reason).toContain("GPU 0 (H200), which is sick: Xid 79: it has fallen off the bus");
  expect(sick.hardware.gpus).toMatchObject([{ sick: "Xid 79: it has fallen off the bus" }]);
  expect(sick.runtimes.map(({ healthy }) => healthy)).toEqual([false, false]);
  const { out } = await mesh.mesh.run("nodes", "--state", "degraded");
  expect(out).toMatch(/gpu-1 .*H200 SICK: Xid 79/);
  expect(out).not.toContain("here");
  const [, port = ""] = await machine.agent.waitForLine(/"health_port":(\d+)/);
  const health = (await (await fetch(`http://127.0.0.1:${port}/health`)).json()) as object;
  expect(health).toMatchObject({ sick_gpus: ["GPU 0 (H200): Xid 79: it has fallen off the bus"] });
  await eventually("recorded", () => events.some(({ type }) => type === "gpu_sick"));
  expect(events.find(({ type }) => type === "gpu_sick")?.data).toMatchObject({
    node_id: "gpu-1",
    cause: "xid",
    xid: 79,
  });
  const { out: explained } = await mesh.mesh.run("route", "--model", "managed", "--class", "P2", "--explain");
  expect(explained).toContain("which is sick");
  expect(await mesh.mesh.run("node", "gpu-well", "gpu-1", "5")).toMatchObject({
    code: 1,
    err: expect.stringContaining("sick: GPU 0 (H200)"),
  });
  expect(await mesh.mesh.run("node", "gpu-well", "gpu-1", "0", "--reason", "reset")).toMatchObject({ code: 0 });
  await record("well", ({ status, hardware }) => status === "healthy" && hardware.gpus[0]?.sick === null);
  await eventually("recorded", () => events.some(({ type }) => type === "gpu_well"));
  expect(events.find(({ type }) => type === "gpu_well")?.data).toMatchObject({ by: "operator", reason: "reset" });
});

test("a name and labels are in the heartbeats, `nodes` filters by them, and a restart of the agent keeps them", async () => {
  expect(await mesh.mesh.run("node", "rename", "gpu-1", "Ada's rack")).toMatchObject({ code: 0 });
  expect(await mesh.mesh.run("node", "label", "gpu-1", "site=Berlin", "rack=7")).toMatchObject({
    code: 0,
    out: "labels of gpu-1: site=Berlin, rack=7",
  });
  await mesh.mesh.run("node", "label", "gpu-1", "rack-");
  const { out } = await mesh.mesh.run("nodes", "--label", "site=Berlin", "--layer", "L1", "--json");
  expect(JSON.parse(out)).toMatchObject([{ node_id: "gpu-1", name: "Ada's rack", labels: { site: "Berlin" } }]);
  const none = await mesh.mesh.run("nodes", "--label", "site=Paris");
  expect(none.out).toMatch(/none of the \d nodes is meant/);
  expect((await mesh.mesh.run("nodes", "--layer", "L7")).code).toBe(2);
});

test.runIf(process.platform === "linux")("the agent and all that it starts listen on loopback only", async () => {
  const others = [process.pid];
  const server = createServer().listen(0, "0.0.0.0");
  await new Promise((resolve) => server.once("listening", resolve));
  const open = `:${(server.address() as AddressInfo).port.toString(16).toUpperCase().padStart(4, "0")}`;
  // The look itself sees what it should: this test's own server, which is no loopback one.
  expect(listeningSockets(others).filter((socket) => !isLoopbackSocket(socket))).toEqual([
    expect.stringMatching(new RegExp(`${open}$`)),
  ]);
  server.close();
  const pids = [machine.agent.pid, ...descendants(machine.agent.pid)];
  const sockets = listeningSockets(pids);
  expect(sockets.length).toBeGreaterThan(0);
  expect(sockets.filter((socket) => !isLoopbackSocket(socket))).toEqual([]);
});

test("an agent that was killed finds its runtime still running, spares it a start, and ends it when it stops", async () => {
  const left = managedPid();
  const { boot_id: before } = await serves("before");
  machine.agent.kill("SIGKILL");
  await machine.restart();
  await record("started anew", ({ boot_id: boot }) => boot !== before);
  await serves("as before");
  expect([managedPid(), isAlive(left)]).toEqual([left, true]);
  expect(seen()?.record).toMatchObject({ name: "Ada's rack", labels: { site: "Berlin" } });
  machine.agent.kill("SIGTERM");
  await machine.agent.exited;
  expect(isAlive(left)).toBe(false);
});
