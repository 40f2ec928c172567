import { expect, test } from "vitest";
import { ControlReply, MeshError, NodeRecord, UpgradeState, type ControlRequest } from "../../bus-schemas/index.ts";
import type { SeenNode } from "../../client/index.ts";
import { nodeRecord } from "../../test/kit/router-parts.ts";
import { conduct } from "./conduct.ts";
import type { ConductOptions, Fleet, Step } from "./fleet.ts";
import type { JobCounts } from "./health-gate.ts";

const RELEASE = { v: 1 as const, version: "2.0.0", files: [], added_unix_ms: 1_700_000_000_000, by: "ada" };
const OPTIONS: ConductOptions = {
  release: RELEASE,
  id: "run-1",
  waitSeconds: 1,
  drainMs: 3000,
  settleMs: 3000,
  soakMs: 3000,
  maxFailures: 0,
  rollBack: true,
};

/** One node of a fleet that obeys; what it does otherwise is set by the test. */
interface Posed {
  record: NodeRecord;
  state: SeenNode["state"];
  upgrade: UpgradeState | null;
  /** How its exchange ends. */
  ends: "healthy" | "rolled_back" | "silent";
  /** Happens when it runs the new version. */
  onUpgraded: () => void;
}

const idle = UpgradeState.parse({ phase: "idle" });
const reply = (more: Partial<ControlReply> = {}) => ControlReply.parse({ ok: true, node_id: "n", ...more });

/** A fleet on virtual time: a second of it passes in each pause of a second. */
function fleetOf(ids: readonly string[]) {
  let nowMs = 0;
  const jobs = { all: { ended: 0, failed: 0 }, on: new Map<string, JobCounts>() };
  const told: string[] = [];
  const steps: Step[] = [];
  const nodes = new Map<string, Posed>(
    ids.map((id) => [
      id,
      {
        record: NodeRecord.parse(nodeRecord(id, { version: "1.0.0", layer: "L1" })),
        state: "ready",
        upgrade: idle,
        ends: "healthy",
        onUpgraded: () => undefined,
      },
    ]),
  );
  const find = (id: string): Posed => {
    const found = nodes.get(id);
    if (found === undefined) throw new MeshError("not_found", "nobody");
    return found;
  };
  const set = (id: string, more: Partial<NodeRecord>) => Object.assign(find(id).record, more);
  const obey = (id: string, request: ControlRequest): ControlReply => {
    const node = find(id);
    told.push(`${id} ${request.command}${request.command === "upgrade" ? ` ${request.mode}` : ""}`);
    if (request.command === "drain") set(id, { status: "draining", status_reason: request.reason ?? null });
    if (request.command === "suspend") set(id, { status: "suspended", load: null });
    if (request.command === "resume") set(id, { status: "healthy", status_reason: null });
    if (request.command === "rollback") {
      set(id, { version: "1.0.0" });
      node.upgrade = UpgradeState.parse({ phase: "healthy", id: request.id });
    }
    if (request.command === "upgrade" && request.mode === "go" && node.ends !== "silent") {
      if (node.ends === "healthy") set(id, { version: "2.0.0" });
      node.upgrade = UpgradeState.parse({ phase: node.ends, id: request.id, message: `it is ${node.ends}` });
      if (node.ends === "healthy") node.onUpgraded();
    }
    return reply({ upgrade: node.upgrade });
  };
  const fleet: Fleet = {
    nodes: () => [...nodes.values()].map(({ record, state }) => ({ record, state, seenAgoMs: 0 })),
    order: async (id, request) => obey(id, request),
    jobs: () => ({ all: { ...jobs.all }, on: new Map(jobs.on) }),
    pause: async (ms) => void (nowMs += ms),
    nowMs: () => nowMs,
  };
  const run = (
    batches: string[][],
    more: Partial<ConductOptions> = {},
    stop: () => string | undefined = () => undefined,
  ) =>
    conduct(
      fleet,
      { version: "2.0.0", batches, already: [], cannot: [] },
      { ...OPTIONS, ...more },
      {
        before: { jobs: { ended: 100, failed: 1 }, onNodes: { ended: 100, failed: 1 } },
        stop,
        tell: (step) => steps.push(step),
      },
    );
  const versions = () => [...nodes.values()].map(({ record }) => record.version);
  return { find, fleet, jobs, nodes, run, set, steps, told, versions };
}

test("each node is fetched for, emptied, exchanged and given its jobs back, one batch after the other", async () => {
  const { run, steps, told, versions } = fleetOf(["a", "b", "c"]);
  expect(await run([["a"], ["b", "c"]])).toMatchObject({
    end: "done",
    upgraded: ["a", "b", "c"],
    left: [],
    trouble: [],
  });
  expect(versions()).toEqual(["2.0.0", "2.0.0", "2.0.0"]);
  // No job ended on them, and that is said.
  expect(steps.filter(({ step }) => step === "soaked")).toEqual([
    { step: "soaked", nodes: ["a"], jobs: 0 },
    { step: "soaked", nodes: ["b", "c"], jobs: 0 },
  ]);
  expect(told.filter((line) => line.startsWith("a "))).toEqual([
    "a upgrade fetch",
    "a drain",
    "a upgrade go",
    "a upgrade-status",
    "a resume",
  ]);
});

test("a node that an operator has taken out stays so, and jobs that do not end move to others", async () => {
  const { find, run, set, told } = fleetOf(["a", "b"]);
  set("a", { status: "cordoned" });
  const { load } = find("b").record;
  if (load !== null) load.running = 1;
  await run([["a"], ["b"]]);
  expect(told.filter((line) => / (drain|suspend|resume)$/.test(line))).toEqual(["b drain", "b suspend", "b resume"]);
  expect(find("a").record.status).toBe("cordoned");
});

test("a canary that goes back by itself ends it: the others are not touched, and it takes jobs again", async () => {
  const { find, run, told, versions } = fleetOf(["a", "b", "c"]);
  find("a").ends = "rolled_back";
  expect(await run([["a"], ["b", "c"]], { maxFailures: 5 })).toMatchObject({
    end: "stopped",
    why: "a: it is rolled_back",
    rolledBack: [{ node: "a" }],
    trouble: [],
    left: ["b", "c"],
  });
  expect([versions(), told.at(-1), find("a").record.status]).toEqual([Array(3).fill("1.0.0"), "a resume", "healthy"]);
});

test("a node that says nothing any more is one to look at, and what was upgraded beside it goes back", async () => {
  const { find, run, versions } = fleetOf(["a", "b", "c"]);
  find("b").ends = "silent";
  expect(await run([["a"], ["b", "c"]])).toMatchObject({
    end: "stopped",
    upgraded: ["a"],
    rolledBack: [{ node: "c" }],
    trouble: [{ node: "b", why: "nothing is heard of it" }],
  });
  expect(versions()).toEqual(["2.0.0", "1.0.0", "1.0.0"]);
});

test("so many failures as were allowed do not end it, and one more does", async () => {
  const posed = () => {
    const fleet = fleetOf(["a", "b", "c", "d"]);
    for (const id of ["b", "c"]) fleet.find(id).ends = "rolled_back";
    return fleet;
  };
  const batches = [["a"], ["b"], ["c"], ["d"]];
  expect(await posed().run(batches, { maxFailures: 2 })).toMatchObject({ end: "done", upgraded: ["a", "d"] });
  expect(await posed().run(batches, { maxFailures: 1 })).toMatchObject({
    end: "stopped",
    upgraded: ["a"],
    left: ["d"],
  });
});

test("a batch after which jobs fail, a runtime is gone or another node is lost goes back; with --no-rollback it stays", async () => {
  const failing = fleetOf(["a", "b"]);
  // A sick node, which routers hide from callers: b's jobs go on elsewhere.
  const { pause } = failing.fleet;
  failing.fleet.pause = async (ms) => {
    const soaks = failing.steps.filter(({ step }) => step === "soak").length;
    if (soaks === 2) failing.jobs.on.set("b", { ended: 9, failed: 4 });
    await pause(ms);
  };
  expect(await failing.run([["a"], ["b"]])).toMatchObject({
    end: "stopped",
    why: expect.stringContaining("4 of 9 jobs failed"),
  });
  expect(failing.versions()).toEqual(["2.0.0", "1.0.0"]);

  const refusing = fleetOf(["a", "b"]);
  refusing.find("a").onUpgraded = () => Object.assign(refusing.jobs.all, { ended: 20, failed: 10 });
  expect(await refusing.run([["a"], ["b"]])).toMatchObject({
    why: expect.stringContaining("10 of 20 jobs"),
    left: ["b"],
  });

  const lost = fleetOf(["a", "b", "x", "y", "z"]);
  lost.find("b").onUpgraded = () => ["x", "y"].forEach((id) => (lost.find(id).state = "lost"));
  expect(await lost.run([["a"], ["b"]], { rollBack: false })).toMatchObject({
    end: "stopped",
    why: expect.stringContaining("2 of 3 other nodes"),
    upgraded: ["a", "b"],
  });

  const without = fleetOf(["a", "b"]);
  without.set("a", {
    runtimes: NodeRecord.parse(nodeRecord("a", { runtimes: [{ name: "vllm", kind: "vllm" }] })).runtimes,
  });
  without.find("a").onUpgraded = () => without.set("a", { runtimes: [] });
  expect(await without.run([["a"], ["b"]])).toMatchObject({
    end: "stopped",
    rolledBack: [{ node: "a", why: "vllm is not well" }],
    left: ["b"],
  });
  expect(without.versions()).toEqual(["1.0.0", "1.0.0"]);
});

test("who asks for its end gets it between two batches", async () => {
  const { run, told, find } = fleetOf(["a", "b"]);
  let asked: string | undefined;
  find("a").onUpgraded = () => (asked = "Ctrl-C");
  expect(await run([["a"], ["b"]], {}, () => asked)).toMatchObject({
    end: "asked",
    why: "Ctrl-C",
    upgraded: ["a"],
    left: ["b"],
  });
  expect(told.some((line) => line.startsWith("b"))).toBe(false);
});

test("an agent that knows no such orders is the former program", async () => {
  const { find, fleet, run } = fleetOf(["a", "b"]);
  const { order } = fleet;
  fleet.order = async (id, request) =>
    request.command === "upgrade-status"
      ? reply({ ok: false, error: new MeshError("bad_request", "command", { field: "command" }).toWire() })
      : order(id, request);
  find("a").ends = "rolled_back";
  expect(await run([["a"], ["b"]])).toMatchObject({
    rolledBack: [{ node: "a", why: "the new program did not come up" }],
  });
});
