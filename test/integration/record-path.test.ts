import path from "node:path";
import { jetstreamManager, type JetStreamManager } from "@nats-io/jetstream";
import { afterAll, beforeAll, expect, test } from "vitest";
import { AuditPage, type RecordPath } from "../../bus-schemas/index.ts";
import type { Bus } from "../../service/bus.ts";
import type { EventPublisher } from "../../service/events.ts";
import { linesOf, startAuditor, type AuditorProc } from "../kit/auditor-proc.ts";
import type { TestBus } from "../kit/bus.ts";
import { startEventBus } from "../kit/event-bus.ts";
import { tempDir } from "../kit/temp-dir.ts";
import { waitFor } from "../kit/wait-for.ts";

const dir = tempDir("tiermesh-record-path-");
const folder = path.join(dir.path, "audit");
let server: TestBus;
let bus: Bus;
let events: EventPublisher;
let stop: () => Promise<void>;
let manager: JetStreamManager;
let auditor: AuditorProc;

beforeAll(async () => {
  ({ server, bus, events, stop } = await startEventBus());
  manager = await jetstreamManager(bus.nc);
  auditor = await startAuditor(server, folder, { env: { TIERMESH_AUDIT_CANARY_MS: "100" } });
});
afterAll(async () => {
  auditor.kill("SIGKILL");
  await stop();
  await dir.remove();
});

const way = async () => (await auditor.health())["record_path"] as RecordPath;
/** Waits until the way is well and a canary has come through that was sent after this was called. */
async function well(): Promise<void> {
  const before = (await manager.streams.info("AUDIT")).state.last_seq;
  await waitFor(async () => {
    const { ack_floor } = await manager.consumers.info("AUDIT", "auditor");
    expect(ack_floor.stream_seq).toBeGreaterThan(before);
    expect(await way()).toMatchObject({ ok: true, problem: null, last_ack_ms: expect.any(Number) });
    expect(await auditor.health()).toMatchObject({ ok: true });
  });
}

test("canaries go the whole way, are no entries of the log, and whoever asks the auditor hears that", async () => {
  await well();
  await events.record("node_left", { node_id: "n1", layer: "L1", reason: null }).durable;
  await well();
  const { sequence, tree_size: size } = await auditor.health();
  await well();
  expect(await auditor.health()).toMatchObject({ sequence, tree_size: size });
  expect(linesOf(folder).filter((entry) => "rejected" in entry || entry.type === "canary")).toEqual([]);
  const reply = await bus.nc.request(bus.subjects.auditQuery, JSON.stringify({ limit: 1 }), { timeout: 3000 });
  const page = AuditPage.parse(reply.json());
  expect(page.record_path).toMatchObject({ ok: true, problem: null, last_logged_ms: expect.any(Number) });
});

test("a stream that refuses is told, although it answers who asks it how it is; and that it takes events again", async () => {
  const { config, state } = await manager.streams.info("AUDIT");
  await manager.streams.update("AUDIT", { ...config, max_msgs: state.messages });
  await waitFor(async () => {
    expect(await way()).toMatchObject({ ok: false, problem: expect.stringMatching(/refuses events: .*maximum/) });
    expect(await auditor.health()).toMatchObject({ ok: false, problem: null });
  });
  expect((await manager.streams.info("AUDIT")).config.name).toBe("AUDIT");
  const metrics = await (await fetch(`${auditor.healthUrl()}/metrics`)).text();
  expect(metrics).toMatch(/tiermesh_audit_record_path_ok\{[^}]*\} 0/);
  await manager.streams.update("AUDIT", { ...config, max_msgs: -1 });
  await well();
});

test("a stream that takes events and gives none out is told, too", async () => {
  await manager.consumers.pause("AUDIT", "auditor", new Date(Date.now() + 600_000));
  await waitFor(
    async () => {
      const state = await way();
      expect(state).toMatchObject({ ok: false, problem: expect.stringMatching(/takes events, and the last one came/) });
      // They are acknowledged all the time.
      expect(state.last_ack_ms).toBeLessThan(state.last_logged_ms ?? 0);
    },
    { timeout: 30_000 },
  );
  await manager.consumers.resume("AUDIT", "auditor");
  await well();
}, 60_000);
