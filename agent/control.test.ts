import path from "node:path";
import { afterAll, expect, test, vi } from "vitest";
import { ControlReply, MeshError, UpgradeState, type ModelProgress } from "../bus-schemas/index.ts";
import type { Bus } from "../service/bus.ts";
import { FakeBus, FakeEvents } from "../test/kit/router-parts.ts";
import { tempDir } from "../test/kit/temp-dir.ts";
import { serveControl } from "./control.ts";
import { Description } from "./description.ts";
import type { PlacedOrder } from "./model-orders.ts";
import { Stance } from "./stance.ts";

const folder = tempDir("tiermesh-control-");
afterAll(() => folder.remove());
let count = 0;

function setup(stanceFile = path.join(folder.path, `stance-${count++}.json`)) {
  const bus = new FakeBus();
  const events = new FakeEvents();
  const rejected: MeshError[] = [];
  const stance = new Stance(stanceFile, () => undefined);
  let beats = 0;
  const handedBack: string[] = [];
  const stop = new AbortController();
  const given: { order: PlacedOrder; tell: (progress: ModelProgress) => void; end: PromiseWithResolvers<void> }[] = [];
  const orders = {
    place: (action: PlacedOrder["action"], model: string, runtime = "ollama") => {
      if (model === "huge") throw new MeshError("model_not_found", "no such model", { field: "model" });
      return { action, runtime, model };
    },
    carryOut: (order: PlacedOrder, tell: (progress: ModelProgress) => void) => {
      const end = Promise.withResolvers<void>();
      given.push({ order, tell, end });
      return end.promise;
    },
  };
  const restarts: { runtime: string; reason: string | null; end: PromiseWithResolvers<void> }[] = [];
  const supervision = {
    restart: (runtime: string, reason: string | null) => {
      if (runtime === "ollama") throw new MeshError("not_supported", "not ours", { field: "runtime" });
      const end = Promise.withResolvers<void>();
      restarts.push({ runtime, reason, end });
      return end.promise;
    },
  };
  const description = new Description(`${stanceFile}.description`);
  const wellAgain: (string | undefined)[] = [];
  serveControl({
    supervision,
    description,
    upgrader: {
      state: UpgradeState.parse({ phase: "idle", version: "1.0.0" }),
      upgrade: async ({ version }, onProgress) => {
        onProgress({ phase: "downloading", done_bytes: 1, total_bytes: 2 });
        if (version === "0.9.0") throw new MeshError("conflict", "older");
      },
      rollBack: async () => undefined,
    },
    gpus: {
      declareWell: (gpu) => {
        if (gpu === "7") throw new MeshError("not_found", "no such GPU is sick here", { field: "gpu" });
        wellAgain.push(gpu);
      },
    },
    bus: bus as unknown as Bus,
    nodeId: "n1",
    stance,
    desk: { handBack: (reason) => void handedBack.push(reason) },
    orders,
    signal: stop.signal,
    events: events as never,
    rejections: { add: (_: string, error: MeshError) => void rejected.push(error) } as never,
    heartbeatNow: () => void beats++,
  });
  const ask = (body: unknown) => {
    const before = bus.sent.length;
    bus.deliver("mesh.main.node.control.n1", body, { reply: "_INBOX.operator" });
    return ControlReply.parse(bus.sent[before]?.json());
  };
  const order = (body: unknown) => bus.deliver("mesh.main.node.control.n1", body, { reply: "_INBOX.operator" });
  const replies = () => bus.on("_INBOX.operator").map((sent) => ControlReply.parse(sent.json()));
  return {
    restarts,
    description,
    wellAgain,
    bus,
    events,
    rejected,
    stance,
    ask,
    beats: () => beats,
    handedBack,
    given,
    order,
    replies,
  };
}

test("cordon, drain and resume take effect, are recorded, and the fleet hears of each at once", () => {
  const { ask, events, stance, beats } = setup();
  expect(ask({ command: "cordon", reason: "new disk" })).toEqual({
    ok: true,
    node_id: "n1",
    status: "cordoned",
    error: null,
    done: true,
    progress: null,
    upgrade: null,
  });
  expect(stance.closedBecause).toContain("new disk");
  expect(ask({ command: "drain", by: "ada@desk" })).toMatchObject({ ok: true, status: "draining" });
  expect(ask({ command: "resume" })).toMatchObject({ ok: true, status: "healthy" });
  expect(stance.closedBecause).toBeUndefined();
  expect(beats()).toBe(3);
  expect(events.of("node_controlled")).toEqual([
    { node_id: "n1", command: "cordon", reason: "new disk" },
    { node_id: "n1", command: "drain", reason: null, by: "ada@desk" },
    { node_id: "n1", command: "resume", reason: null },
  ]);
});

test("suspend hands back what runs, after the fleet has heard of it; cordon and drain let it end", () => {
  const { ask, handedBack, beats } = setup();
  ask({ command: "cordon" });
  ask({ command: "drain" });
  expect(handedBack).toEqual([]);
  ask({ command: "suspend", reason: "a talk is given on it" });
  expect(handedBack).toEqual(["the node is suspended: a talk is given on it"]);
  expect(beats()).toBe(3);
});

test.each([
  ["garbage", new Uint8Array([0xff])],
  ["null", null],
  ["an unknown command", { command: "explode" }],
  ["a reason without end", { command: "cordon", reason: "x".repeat(201) }],
  ["an empty reason", { command: "drain", reason: "" }],
  ["a model without a name", { command: "load-model" }],
  ["a model with an endless name", { command: "pull", model: "x".repeat(201) }],
  ["a runtime that is no token", { command: "unload-model", model: "m", runtime: "a.b" }],
  ["a restart of no runtime", { command: "restart-runtime" }],
  ["a label's key with a space", { command: "describe", labels: { "a b": "x" } }],
  ["an endless label", { command: "describe", labels: { a: "x".repeat(201) } }],
  ["a GPU that is sick no more than the others", { command: "gpu-well", gpu: "7" }],
])("%s is answered with a typed error and changes nothing", (_, body) => {
  const { ask, events, rejected, stance, beats } = setup();
  expect(ask(body)).toMatchObject({
    ok: false,
    status: "healthy",
    error: { code: expect.stringMatching(/^(bad_request|not_found)$/) },
  });
  expect(rejected).toHaveLength(1);
  expect(stance.status.status).toBe("healthy");
  expect([events.seen.length, beats()]).toEqual([0, 0]);
});

test("a word that cannot be kept is answered with an error", () => {
  const { ask } = setup(path.join(folder.path, "no-such-folder", "stance.json"));
  expect(ask({ command: "cordon" })).toMatchObject({ ok: false, error: { code: "internal" } });
});

test("a word whose sender cannot hear the answer, as JetStream's own are, changes nothing", () => {
  const { bus, rejected, stance } = setup();
  for (const reply of ["", "$JS.ACK.AUDIT.auditor.1.2.3.4.5", "mesh.main.node.control.n1"])
    bus.deliver("mesh.main.node.control.n1", { command: "drain" }, { reply });
  expect(stance.status.status).toBe("healthy");
  expect(rejected.map(({ field }) => field)).toEqual(["reply", "reply", "reply"]);
});

const downloading = (done: number): ModelProgress => ({ phase: "downloading", done_bytes: done, total_bytes: 100 });

test("a command about a model is answered as it goes on and at its end, and its end is recorded", async () => {
  const { given, order, replies, events, beats } = setup();
  order({ command: "pull", model: "llama3.2" });
  expect(given[0]?.order).toEqual({ action: "pull", runtime: "ollama", model: "llama3.2" });
  given[0]?.tell(downloading(1));
  // What follows in the same phase is told by the second, not each.
  given[0]?.tell(downloading(2));
  expect(replies()).toMatchObject([{ ok: true, done: false, progress: downloading(1) }]);
  expect(events.of("node_controlled")).toEqual([]);
  given[0]?.end.resolve();
  await vi.waitFor(() => expect(replies()).toHaveLength(2));
  expect(replies()[1]).toMatchObject({ ok: true, done: true, error: null, progress: downloading(2) });
  expect(events.of("node_controlled")).toEqual([
    { node_id: "n1", command: "pull", reason: null, model: "llama3.2", runtime: "ollama" },
  ]);
  expect(beats()).toBe(1);
});

test("a long download is told of every second, so that its operator knows that the node lives", async () => {
  vi.useFakeTimers();
  try {
    const { given, order, replies } = setup();
    order({ command: "load-model", model: "m" });
    await vi.advanceTimersByTimeAsync(3000);
    expect(replies().map(({ done }) => done)).toEqual([false, false, false]);
    given[0]?.end.resolve();
    await vi.advanceTimersByTimeAsync(3000);
    expect(replies().map(({ done }) => done)).toEqual([false, false, false, true]);
  } finally {
    vi.useRealTimers();
  }
});

test("a command about a model that fails says why, to its operator and in the record", async () => {
  const { given, order, replies, events } = setup();
  order({ command: "unload-model", model: "m", runtime: "vllm-8000" });
  given[0]?.end.reject(new MeshError("not_supported", "start it with another model"));
  await vi.waitFor(() => expect(replies()).toHaveLength(1));
  order({ command: "load-model", model: "huge" });
  await vi.waitFor(() => expect(replies()).toHaveLength(2));
  expect(replies()).toMatchObject([
    { ok: false, done: true, error: { code: "not_supported" } },
    { ok: false, done: true, error: { code: "model_not_found", field: "model" } },
  ]);
  expect(events.of("node_controlled")).toMatchObject([
    { command: "unload-model", model: "m", runtime: "vllm-8000", error: { code: "not_supported" } },
    { command: "load-model", model: "huge", error: { code: "model_not_found" } },
  ]);
});

test("a restart of a runtime is told of until it answers again, and recorded with its reason", async () => {
  const { restarts, order, replies, events, beats } = setup();
  order({ command: "restart-runtime", runtime: "vllm", reason: "new flags" });
  expect(restarts).toMatchObject([{ runtime: "vllm", reason: "new flags" }]);
  expect(replies()).toMatchObject([{ ok: true, done: false, progress: { phase: "starting" } }]);
  restarts[0]?.end.resolve();
  await vi.waitFor(() => expect(replies()).toHaveLength(2));
  expect(replies()[1]).toMatchObject({ ok: true, done: true, error: null });
  expect(events.of("node_controlled")).toEqual([
    { node_id: "n1", command: "restart-runtime", reason: "new flags", runtime: "vllm" },
  ]);
  expect(beats()).toBe(1);
});

test("a restart of a runtime that is not managed is a typed error, recorded too", async () => {
  const { order, replies, events } = setup();
  order({ command: "restart-runtime", runtime: "ollama" });
  await vi.waitFor(() => expect(replies()).toHaveLength(1));
  expect(replies()).toMatchObject([{ ok: false, done: true, error: { code: "not_supported", field: "runtime" } }]);
  expect(events.of("node_controlled")).toMatchObject([
    { command: "restart-runtime", error: { code: "not_supported" } },
  ]);
});

test("name and labels are set, added to and taken away, and outlive a restart", () => {
  const { ask, description, events, beats } = setup(path.join(folder.path, "described"));
  ask({ command: "describe", name: "Ada's desk", labels: { site: "Berlin", team: "x" } });
  ask({ command: "describe", labels: { team: null, "rack/row": "7" } });
  expect(description.name).toBe("Ada's desk");
  expect(description.labels).toEqual({ site: "Berlin", "rack/row": "7" });
  const again = new Description(path.join(folder.path, "described.description"));
  expect([again.name, again.labels]).toEqual([description.name, description.labels]);
  ask({ command: "describe", name: null });
  expect(description.name).toBeNull();
  expect(beats()).toBe(3);
  expect(events.of("node_controlled").map(({ command }) => command)).toEqual(["describe", "describe", "describe"]);
});

test("more labels than a heartbeat should carry are refused, and none of them is kept", () => {
  const { ask, description } = setup();
  const labels = Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`k${i}`, "v"]));
  expect(ask({ command: "describe", labels })).toMatchObject({
    ok: false,
    error: { code: "bad_request", field: "labels" },
  });
  expect(description.labels).toEqual({});
});

test("an operator's word makes a sick GPU used again", () => {
  const { ask, wellAgain, beats } = setup();
  expect(ask({ command: "gpu-well", gpu: "1", reason: "was replaced" })).toMatchObject({ ok: true });
  expect(ask({ command: "gpu-well" })).toMatchObject({ ok: true });
  expect(wellAgain).toEqual(["1", undefined]);
  expect(beats()).toBe(2);
});

test("an upgrade is told of until it is handed over; only what changes the machine is recorded", async () => {
  const { ask, order, replies, events } = setup();
  expect(ask({ command: "upgrade-status" })).toMatchObject({ ok: true, upgrade: { phase: "idle", version: "1.0.0" } });
  const file = { system: "linux-x64", bytes: 5, sha256: "0".repeat(64), signature: "s" };
  const upgrade = { command: "upgrade", id: "u1", version: "1.1.0", files: [file], by: "ada" };
  for (const more of [{ mode: "check" }, {}, { version: "0.9.0" }]) order({ ...upgrade, ...more });
  order({ command: "rollback", id: "r1" });
  await vi.waitFor(() => expect(replies().filter(({ done }) => done)).toHaveLength(5));
  expect(replies().some(({ progress }) => progress?.phase === "downloading")).toBe(true);
  expect(events.of("node_controlled")).toMatchObject([
    { command: "upgrade", reason: "to 1.1.0", by: "ada" },
    { command: "upgrade", reason: "to 0.9.0", error: { code: "conflict" } },
    { command: "rollback", reason: null },
  ]);
  expect(ask({ ...upgrade, version: "1..2" })).toMatchObject({ error: { code: "bad_request", field: "version" } });
});
