import { existsSync } from "node:fs";
import path from "node:path";
import { jetstreamManager } from "@nats-io/jetstream";
import { headers } from "@nats-io/nats-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { AuditPage, type AuditEntry, type AuditQueryInput } from "../../bus-schemas/index.ts";
import type { Bus } from "../../service/bus.ts";
import type { EventPublisher } from "../../service/events.ts";
import { linesOf, startAuditor as startAuditorProc, type AuditorProc } from "../kit/auditor-proc.ts";
import type { TestBus } from "../kit/bus.ts";
import { startEventBus } from "../kit/event-bus.ts";
import { startProc } from "../kit/proc.ts";
import { verifyTree } from "../kit/signed-log.ts";
import { tempDir } from "../kit/temp-dir.ts";
import { waitFor } from "../kit/wait-for.ts";

const dir = tempDir("tiermesh-auditor-");
let server: TestBus;
let bus: Bus;
let events: EventPublisher;
let stop: () => Promise<void>;

beforeAll(async () => {
  ({ server, bus, events, stop } = await startEventBus());
});
afterAll(async () => {
  await stop();
  await dir.remove();
});

/** Each test has a log of its own, on one bus: without this an auditor would wait for the turn of the one before. */
async function startAuditor(folder: string, wait = true): Promise<AuditorProc> {
  if (!existsSync(folder)) await forgetTurn();
  return startAuditorProc(server, folder, { wait });
}

async function forgetTurn(): Promise<void> {
  const manager = await jetstreamManager(bus.nc);
  await manager.streams.delete(bus.subjects.auditorBucket.stream).catch(() => undefined);
}

async function ask(query: AuditQueryInput): Promise<AuditPage> {
  const reply = await bus.nc.request(bus.subjects.auditQuery, JSON.stringify(query), { timeout: 3000 });
  return AuditPage.parse(reply.json());
}

/** Waits until the log holds `sequence`. */
function untilStored(sequence: number): Promise<void> {
  const look = async () =>
    expect((await ask({ after_sequence: sequence - 1, limit: 1 })).next).toBeGreaterThanOrEqual(sequence);
  return waitFor(look, { timeout: 40_000, interval: 30 });
}

/** Runs `tiermesh …` without a mesh; its exit code. */
async function tiermesh(...args: string[]): Promise<number | null> {
  await using proc = startProc(path.join(import.meta.dirname, "..", "..", "cli", "main.ts"), { args });
  return (await proc.exited).code;
}

const left = { node_id: "n1", layer: "L1", reason: null } as const;
const record = () => events.record("node_left", left);

test("kill -9 in the middle of the stream, again and again: each acknowledged event is in the log exactly once", async () => {
  const folder = path.join(dir.path, "killed");
  let auditor = await startAuditor(folder);
  const ids: string[] = [];
  const total = 6000;
  for (let round = 1; round <= 3; round++) {
    for (let i = 0; i < total / 3; i++) ids.push(record().id);
    // Somewhere within the batch that is being stored.
    await untilStored((round - 1) * (total / 3) + 10);
    auditor.kill("SIGKILL");
    await auditor.exited;
    auditor = await startAuditor(folder);
  }
  await untilStored(total);
  const entries = linesOf(folder) as AuditEntry[];
  expect(entries.map((entry) => entry.id).toSorted()).toEqual(ids.toSorted());
  expect(entries.map((entry) => entry.sequence)).toEqual(entries.map((_, i) => i + 1));
  const manager = await jetstreamManager(bus.nc);
  await waitFor(async () => {
    const { ack_floor, num_pending } = await manager.consumers.info("AUDIT", "auditor");
    expect([ack_floor.stream_seq, num_pending]).toEqual([total, 0]);
  });
  auditor.kill("SIGTERM");
  expect((await auditor.exited).code).toBe(0);
  expect(verifyTree(folder)).toMatchObject({ problems: [], checkpoint: { size: total } });
  await auditor[Symbol.asyncDispose]();
});

test("what is acknowledged to the stream is covered by a signed checkpoint, within seconds and without being asked", async () => {
  const folder = path.join(dir.path, "covered");
  await using auditor = await startAuditor(folder);
  const manager = await jetstreamManager(bus.nc);
  const before = (await manager.streams.info("AUDIT")).state.messages;
  await Promise.all(Array.from({ length: 3 }, () => record().durable));
  await waitFor(
    async () => {
      const { ack_floor } = await manager.consumers.info("AUDIT", "auditor");
      expect(ack_floor.stream_seq).toBe(before + 3);
    },
    { timeout: 40_000 },
  );
  expect(verifyTree(folder)).toMatchObject({ problems: [], uncovered: 0, checkpoint: { size: before + 3 } });
  expect(await auditor.health()).toMatchObject({ tree_size: before + 3 });
});

test("the log is the truth: what its disk lost comes again, although the consumer had acknowledged it", async () => {
  const folder = path.join(dir.path, "lost");
  await using auditor = await startAuditor(folder);
  const manager = await jetstreamManager(bus.nc);
  const { state } = await manager.streams.info("AUDIT");
  await untilStored(state.messages);
  expect(linesOf(folder).map((entry) => entry.stream_sequence)).toEqual(linesOf(folder).map((_, i) => i + 1));
  expect(await auditor.health()).toMatchObject({ ok: true, problem: null, sequence: state.messages });
});

test("kill -9 of nats-server under load: everything the stream acknowledged enters once, in order", async () => {
  const folder = path.join(dir.path, "bus-killed");
  await using auditor = await startAuditor(folder);
  const before = (await (await jetstreamManager(bus.nc)).streams.info("AUDIT")).state.messages;
  await untilStored(before);
  const recorded = Array.from({ length: 1000 }, record);
  await server.kill();
  recorded.push(...Array.from({ length: 1000 }, record));
  await server.restart();
  await Promise.all(recorded.map((event) => event.durable));
  await untilStored(before + recorded.length);
  const stored = (linesOf(folder) as AuditEntry[]).slice(before).map((entry) => entry.id);
  expect(stored.toSorted()).toEqual(recorded.map((event) => event.id).toSorted());
  await waitFor(async () => expect(await auditor.health()).toMatchObject({ ok: true }));
});

test("garbage on event subjects is kept as rejected entries and does not stop the stream", async () => {
  const folder = path.join(dir.path, "garbage");
  await using auditor = await startAuditor(folder);
  const before = (await (await jetstreamManager(bus.nc)).streams.info("AUDIT")).state.messages;
  const lying = headers();
  lying.set("ce-type", "tiermesh.node_left");
  lying.set("ce-id", "x".repeat(3000));
  bus.nc.publish(`${bus.subjects.prefix}.event.nonsense`, Uint8Array.of(0, 255));
  bus.nc.publish(bus.subjects.event("node_left", "none", "test", "test"), JSON.stringify(left), { headers: lying });
  lying.set("ce-id", "01J0000000000000000000LIAR");
  lying.set("ce-source", "router/r1");
  bus.nc.publish(bus.subjects.event("node_left", "none", "test", "test"), JSON.stringify(left), { headers: lying });
  bus.nc.publish(`${bus.subjects.prefix}.event.node_left.P2.more.tokens`, "top secret prompt");
  const good = record();
  await good.durable;
  await untilStored(before + 5);
  const tail = linesOf(folder).slice(before);
  expect(tail.map((entry) => "rejected" in entry)).toEqual([true, true, true, true, false]);
  expect(JSON.stringify(tail)).not.toContain("secret prompt");
  expect(auditor.errors.join("\n")).not.toContain("secret prompt");
  expect((await ask({ limit: 1 })).events[0]?.id).toBe(good.id);
  expect(await auditor.health()).toMatchObject({ ok: true, rejected: 4 });
});

test("a job's entries are found by its id, and its ending gets a receipt; a malformed question gets a typed error", async () => {
  const folder = path.join(dir.path, "asked");
  await using _auditor = await startAuditor(folder);
  const job = {
    job_id: "job-of-this-test",
    node_id: "n1",
    layer: "L1",
    model: "m",
    decision_id: null,
    finish_reason: "stop",
  } as const;
  const ended = events.record(
    "job_ended",
    { ...job, status: "finished", usage: null, timing: null, error: null },
    { dataClass: "P1" },
  );
  await ended.durable;
  await waitFor(
    async () => {
      const page = await ask({ job_id: job.job_id });
      expect(page.events).toMatchObject([{ id: ended.id, type: "job_ended", security_level: "P1", data: job }]);
    },
    { timeout: 20_000 },
  );
  const file = path.join(dir.path, "job.tlog-proof");
  await waitFor(
    async () => expect(await tiermesh("audit", "receipt", job.job_id, "--offline", folder, "--out", file)).toBe(0),
    { timeout: 20_000 },
  );
  const key = path.join(folder, "log-key.pub");
  expect(await tiermesh("audit", "verify", "--receipt", file, "--key", key)).toBe(0);
  expect(await tiermesh("audit", "verify", "--offline", folder, "--key", key)).toBe(0);
  expect(await tiermesh("audit", "verify", "--receipt", key, "--key", key)).toBe(1);
  const reply = await bus.nc.request(bus.subjects.auditQuery, '{"limit":0}', { timeout: 3000 });
  expect(reply.json()).toMatchObject({ events: [], error: { code: "bad_request", field: "limit" } });
  const garbage = await bus.nc.request(bus.subjects.auditQuery, Uint8Array.of(1, 2, 3), { timeout: 3000 });
  expect(garbage.json()).toMatchObject({ error: { code: "bad_request" } });
});

test("a second auditor on the same folder says who has it and goes", async () => {
  const folder = path.join(dir.path, "locked");
  await using first = await startAuditor(folder);
  await using second = await startAuditor(folder, false);
  expect((await second.exited).code).toBe(1);
  expect(second.errors.join("\n")).toContain(`process ${first.pid} already writes this audit log`);
});

test("a stream that was deleted and made anew is followed from its beginning", async () => {
  const folder = path.join(dir.path, "anew");
  await using auditor = await startAuditor(folder);
  const manager = await jetstreamManager(bus.nc);
  const before = (await manager.streams.info("AUDIT")).state.messages;
  await untilStored(before);
  await manager.streams.delete("AUDIT");
  const recorded = Array.from({ length: 5 }, record);
  await Promise.all(recorded.map((event) => event.durable));
  await untilStored(before + 5);
  const tail = (linesOf(folder) as AuditEntry[]).slice(before);
  expect(tail.map((entry) => entry.id).toSorted()).toEqual(recorded.map((event) => event.id).toSorted());
  expect(tail.map((entry) => entry.stream_sequence)).toEqual([1, 2, 3, 4, 5]);
  expect(await auditor.health()).toMatchObject({ ok: true });
});

// Last, because the others count the stream's messages against the log's entries.
test("an event that the stream has twice enters once; one with its id from another sender is another event", async () => {
  const folder = path.join(dir.path, "twice");
  await using _auditor = await startAuditor(folder);
  const manager = await jetstreamManager(bus.nc);
  const before = (await manager.streams.info("AUDIT")).state.messages;
  const publish = (sender: string) => {
    const event = headers();
    event.set("ce-specversion", "1.0");
    event.set("ce-type", "tiermesh.node_left");
    event.set("ce-id", "01J0000000000000000000TWICE");
    event.set("ce-source", `test/${sender}`);
    event.set("ce-time", "2026-01-02T03:04:05.678Z");
    bus.nc.publish(bus.subjects.event("node_left", "none", "test", sender), JSON.stringify(left), { headers: event });
  };
  for (const sender of ["a", "a", "b", "a"]) publish(sender);
  const last = record();
  await last.durable;
  await waitFor(async () => expect((await ask({ limit: 1 })).events[0]?.id).toBe(last.id), { timeout: 20_000 });
  const stored = (linesOf(folder) as AuditEntry[]).filter((entry) => entry.stream_sequence > before);
  expect(stored.map((entry) => entry.source)).toEqual(["test/a", "test/b", "test/test"]);
  expect(stored.map((entry) => entry.stream_sequence)).toEqual([before + 1, before + 3, before + 5]);
});
