import { jetstreamManager, type JetStreamManager } from "@nats-io/jetstream";
import { afterAll, beforeAll, expect, test } from "vitest";
import { connectBus, type Bus } from "../../service/bus.ts";
import { createLog } from "../../service/log.ts";
import { ensureAuditStream } from "../../service/streams.ts";
import { busAddress } from "../bench/bus-address.ts";
import { startTestBus, type TestBus } from "../kit/bus.ts";

/** The stream of events, on a bus where everybody may do everything: what it refuses, it refuses to all. */

let server: TestBus;
let bus: Bus;
let manager: JetStreamManager;

beforeAll(async () => {
  server = await startTestBus();
  bus = await connectBus("test", busAddress(server), createLog("test", "silent"));
  manager = await jetstreamManager(bus.nc);
});
afterAll(async () => {
  await bus?.drain();
  await server?.stop();
});

test("one made by an earlier version is brought to it: nobody takes a record out, and when it is full it takes no more", async () => {
  const { auditStream: name, events } = bus.subjects;
  await manager.streams.add({ name, subjects: [events], max_bytes: 1_000_000 });
  await ensureAuditStream(bus);
  await bus.nc.request(bus.subjects.event("node_left", "none", "router", "r1"), "{}");
  await expect(manager.streams.purge(name)).rejects.toThrow("purge not permitted");
  await expect(manager.streams.deleteMessage(name, 1)).rejects.toThrow("not permitted");
  expect((await manager.streams.info(name)).state.messages).toBe(1);
  // Nor is that taken back.
  await expect(manager.streams.update(name, { deny_purge: false, deny_delete: false })).rejects.toThrow();
  expect((await manager.streams.info(name)).config.discard).toBe("new");
});
