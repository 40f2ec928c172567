import path from "node:path";
import { afterAll, expect, test } from "vitest";
import { ControlReply, type MeshError } from "../bus-schemas/index.ts";
import type { Bus } from "../service/bus.ts";
import { FakeBus, FakeEvents } from "../test/kit/router-parts.ts";
import { tempDir } from "../test/kit/temp-dir.ts";
import { serveControl } from "./control.ts";
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
  serveControl({
    bus: bus as unknown as Bus,
    nodeId: "n1",
    stance,
    events: events as never,
    rejections: { add: (_: string, error: MeshError) => void rejected.push(error) } as never,
    heartbeatNow: () => void beats++,
  });
  const ask = (body: unknown) => {
    const before = bus.sent.length;
    bus.deliver("mesh.main.node.control.n1", body, { reply: "_INBOX.operator" });
    return ControlReply.parse(bus.sent[before]?.json());
  };
  return { bus, events, rejected, stance, ask, beats: () => beats };
}

test("cordon, drain and resume take effect, are recorded, and the fleet hears of each at once", () => {
  const { ask, events, stance, beats } = setup();
  expect(ask({ command: "cordon", reason: "new disk" })).toEqual({
    ok: true,
    node_id: "n1",
    status: "cordoned",
    error: null,
  });
  expect(stance.closedBecause).toContain("new disk");
  expect(ask({ command: "drain" })).toMatchObject({ ok: true, status: "draining" });
  expect(ask({ command: "resume" })).toMatchObject({ ok: true, status: "healthy" });
  expect(stance.closedBecause).toBeUndefined();
  expect(beats()).toBe(3);
  expect(events.of("node_controlled")).toEqual([
    { node_id: "n1", command: "cordon", reason: "new disk" },
    { node_id: "n1", command: "drain", reason: null },
    { node_id: "n1", command: "resume", reason: null },
  ]);
});

test.each([
  ["garbage", new Uint8Array([0xff])],
  ["null", null],
  ["an unknown command", { command: "explode" }],
  ["a reason without end", { command: "cordon", reason: "x".repeat(201) }],
  ["an empty reason", { command: "drain", reason: "" }],
])("%s is answered with a typed error and changes nothing", (_, body) => {
  const { ask, events, rejected, stance, beats } = setup();
  expect(ask(body)).toMatchObject({ ok: false, status: "healthy", error: { code: "bad_request" } });
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
