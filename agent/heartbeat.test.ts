import { expect, test } from "vitest";
import { NodeRecord, SHARED_STRUCTURES, type Hardware, type Outcome } from "../bus-schemas/index.ts";
import type { Bus } from "../service/bus.ts";
import { SHARED_CONTENT_TYPE, decode } from "../service/codec.ts";
import { createLog } from "../service/log.ts";
import { agentParts, runtimeState } from "../test/kit/agent-parts.ts";
import { Heartbeat } from "./heartbeat.ts";
import type { Ended } from "./job.ts";
import { unknownHardware } from "./probes/hardware.ts";
import type { Stance } from "./stance.ts";

function setup() {
  const { bus, desk } = agentParts();
  const state = { connected: true, status: { status: "healthy", reason: null } as Stance["status"] };
  const hardware: Hardware = unknownHardware({ platform: "linux", arch: "x64" });
  const heartbeat = new Heartbeat({
    bus: Object.assign(bus, { connected: () => state.connected }) as unknown as Bus,
    nodeId: "n1",
    bootId: "boot-1",
    sealKeys: () => [{ kid: "k1", public_key: "A".repeat(43), not_after_unix_ms: Date.now() }],
    layer: "L0",
    costFactor: 0.4,
    stance: {
      get status() {
        return state.status;
      },
    } as Stance,
    profile: "server",
    description: { name: null, labels: {} },
    desk,
    hardware: () => hardware,
    log: createLog("test", "silent"),
  });
  return { bus, desk, state, heartbeat };
}

function ended(status: Outcome, totalMs: number, ttftMs: number | null = null, completionTokens = 0): Ended {
  const timing = { queued_ms: 0, ttft_ms: ttftMs, total_ms: totalMs };
  const usage = { prompt_tokens: 1, completion_tokens: completionTokens, estimated: false };
  return {
    status,
    timing,
    superseded: false,
    handedBack: false,
    tellAnyway: undefined,
    event: { timing, usage, status } as Ended["event"],
  };
}

test("what goes over the bus is a record that every reader takes as it stands", () => {
  const { bus, heartbeat } = setup();
  heartbeat.send();
  const [sent] = bus.on("mesh.main.heartbeat.L0.n1");
  expect(sent?.headers?.get("Content-Type")).toBe(SHARED_CONTENT_TYPE);
  const record = decode(sent?.data ?? new Uint8Array(), SHARED_CONTENT_TYPE);
  expect(NodeRecord.parse(record)).toEqual(record);
  expect(record).toMatchObject({ models: ["tiny"], load: { slots: 1 }, runtimes: [{ name: "ollama" }] });
});

test("each object of the record has its schema's keys in order, so the shared structures fit and no name is sent", () => {
  const { bus, heartbeat } = setup();
  const tables = SHARED_STRUCTURES.map((keys) => keys.join());
  const unshared: string[] = [];
  const walk = (value: unknown): void => {
    if (Array.isArray(value)) return value.forEach(walk);
    if (typeof value !== "object" || value === null) return;
    const keys = Object.keys(value);
    if (keys.length > 0 && !tables.includes(keys.join())) unshared.push(keys.join());
    Object.values(value).forEach(walk);
  };
  walk(heartbeat.record());
  expect(unshared).toEqual([]);
  heartbeat.send();
  expect(new TextDecoder("latin1").decode(bus.on("mesh.main.heartbeat")[0]?.data)).not.toContain("served_models");
});

test("heartbeats are ordered by a sequence within one boot", () => {
  const { heartbeat } = setup();
  const [first, second] = [heartbeat.record(), heartbeat.record()];
  expect([first.seq, second.seq]).toEqual([0, 1]);
  expect(first.boot_id).toBe(second.boot_id);
});

test("nothing is published while the bus is away, and it goes on when it is back", () => {
  const { bus, heartbeat, state } = setup();
  state.connected = false;
  heartbeat.send();
  expect(bus.sent).toEqual([]);
  state.connected = true;
  heartbeat.send();
  expect(bus.sent).toHaveLength(1);
});

test("the status and its reason are the stance's at this moment", () => {
  const { heartbeat, state } = setup();
  state.status = { status: "degraded", reason: "the work thread does not answer" };
  expect(heartbeat.record()).toMatchObject({ status: "degraded", status_reason: "the work thread does not answer" });
});

test("a model of two runtimes is one model served twice", () => {
  const { desk, heartbeat } = setup();
  desk.update([runtimeState("a", ["tiny"]), runtimeState("b", ["tiny"])]);
  const { models, served_models: served } = heartbeat.record();
  expect([models, served.map(({ runtime }) => runtime)]).toEqual([["tiny"], ["a", "b"]]);
});

test("only finished jobs say how fast the node is: one that fails at once does not make it look quick", () => {
  const { heartbeat } = setup();
  expect(heartbeat.record().performance).toMatchObject({ avg_latency_ms: null, tokens_per_second: null });
  heartbeat.onEnded(ended("finished", 2100, 100, 100));
  expect(heartbeat.record().performance).toMatchObject({ avg_latency_ms: 2100, tokens_per_second: 50 });
  for (const status of ["failed", "cancelled", "expired", "refused"] as const)
    heartbeat.onEnded(ended(status, 1, 0.5, 1));
  expect(heartbeat.record().performance).toMatchObject({ avg_latency_ms: 2100, tokens_per_second: 50 });
  heartbeat.onEnded(ended("finished", 1100, 100, 100));
  expect(heartbeat.record().performance).toMatchObject({ avg_latency_ms: 1900, tokens_per_second: 60 });
});

test("a whole answer in one burst does not make the record a lie that routers refuse", () => {
  const { heartbeat } = setup();
  heartbeat.onEnded(ended("finished", 100.1, 100, 5_000_000));
  heartbeat.onEnded(ended("finished", 0, null, 10));
  heartbeat.onEnded(ended("finished", 5, 5, 10));
  const record = heartbeat.record();
  expect(NodeRecord.parse(record)).toEqual(record);
});
