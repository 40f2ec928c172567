import { readFileSync } from "node:fs";
import path from "node:path";
import { jetstreamManager } from "@nats-io/jetstream";
import { headers as newHeaders } from "@nats-io/nats-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { AuditPage, type AuditEntry, type EventType, type LogEntry } from "../../bus-schemas/index.ts";
import { StorageKeys, newStorageKey } from "../../auditor/at-rest/storage-keys.ts";
import { entriesAfter } from "../../auditor/segment-reader.ts";
import { parseVerifierKey } from "../../auditor/tlog/keys.ts";
import { verifyLog } from "../../auditor/tlog/verify.ts";
import { connectBus, type Bus } from "../../service/bus.ts";
import { createLog } from "../../service/log.ts";
import { ensureAuditStream } from "../../service/streams.ts";
import { startAuditor, type AuditorProc } from "../kit/auditor-proc.ts";
import { startTestBus, type TestBus } from "../kit/bus.ts";
import { ended } from "../kit/recorded-jobs.ts";
import { tempDir } from "../kit/temp-dir.ts";
import { waitFor } from "../kit/wait-for.ts";

const MIB = 1024 ** 2;
const dir = tempDir("tiermesh-bad-input-");
const folder = path.join(dir.path, "audit");
// Encrypted, so that the large ones are sealed, too.
const key = newStorageKey();
let server: TestBus;
let bus: Bus;
let auditor: AuditorProc;
let sent = 0;

beforeAll(async () => {
  server = await startTestBus();
  bus = await connectBus(
    "test",
    { url: server.url, user: server.user, password: server.pass },
    createLog("test", "silent"),
  );
  await ensureAuditStream(bus);
  auditor = await startAuditor(server, folder, { env: { TIERMESH_AUDIT_STORAGE_KEY: key } });
});
afterAll(async () => {
  auditor.kill("SIGKILL");
  await bus.drain();
  await server.stop();
  await dir.remove();
});

/** Publishes without an id for JetStream: what comes again is beyond the time in which that would know it. */
function publish(type: string, data: unknown, about: { id: string; source?: string; time?: string }): void {
  const { id, source = "router/r1", time = new Date().toISOString() } = about;
  const headers = newHeaders();
  for (const [name, value] of Object.entries({ id, source, type: `tiermesh.${type}`, time }))
    headers.set(`ce-${name}`, value);
  const dataClass = type.startsWith("job_") ? "P2" : "none";
  const subject = bus.subjects.event(type as EventType, dataClass, "router", "r1");
  bus.nc.publish(subject, typeof data === "string" ? data : JSON.stringify(data), { headers });
  sent++;
}

/** The entries behind those that are there now, once all that was sent is in the log and signed. */
async function logged(publishAll: () => void): Promise<LogEntry[]> {
  const manager = await jetstreamManager(bus.nc);
  const after = Number((await auditor.health())["sequence"]);
  const { last_seq: before } = (await manager.streams.info("AUDIT")).state;
  sent = 0;
  publishAll();
  await waitFor(async () => {
    const { ack_floor } = await manager.consumers.info("AUDIT", "auditor");
    expect(ack_floor.stream_seq).toBeGreaterThanOrEqual(before + sent);
  });
  const entries: LogEntry[] = [];
  for await (const batch of entriesAfter(folder, { after, upTo: Infinity, keys: new StorageKeys([key]) }, 1000))
    entries.push(...batch.filter((entry) => "rejected" in entry || entry.source === "router/r1"));
  return entries;
}

const left = { node_id: "n1", layer: "L1", reason: null };

test("events of a megabyte are kept whole, without what no schema names, or as rejected, and hold nothing up", async () => {
  const policy = { policy_revision: "7-0a1b2c3d4e5f", previous_revision: null, by: "ops", note: null };
  const text = "x".repeat(400_000);
  const [large, junk, stuffed, after] = await logged(() => {
    publish("policy_changed", { ...policy, text_sha256: "ab".repeat(32), text }, { id: "large" });
    publish("node_left", "y".repeat(MIB), { id: "junk" });
    publish("node_left", { ...left, more: "secret".repeat(MIB / 6) }, { id: "stuffed" });
    publish("node_left", left, { id: "after" });
  });
  expect((large as AuditEntry).data).toMatchObject({ text });
  expect(junk).toMatchObject({ rejected: { size_bytes: MIB, reason: "the body is not JSON" } });
  expect(stuffed).toMatchObject({ id: "stuffed", data: left });
  expect(JSON.stringify(stuffed)).not.toContain("secret");
  expect(after).toMatchObject({ id: "after" });
  const reply = await bus.nc.request(bus.subjects.auditQuery, JSON.stringify({ type: "policy_changed" }), {
    timeout: 5000,
  });
  expect(AuditPage.parse(reply.json()).events.map(({ data }) => data)).toMatchObject([{ text }]);
});

test("a producer that sends all of yesterday again enters nothing twice", async () => {
  const time = new Date(Date.now() - 24 * 3_600_000).toISOString();
  const ids = Array.from({ length: 500 }, (_, i) => `yesterday-${i}`);
  const all = () => ids.forEach((id) => publish("node_left", left, { id, time }));
  expect((await logged(all)).map((entry) => (entry as AuditEntry).id)).toEqual(ids);
  expect(await logged(all)).toEqual([]);
});

test("a forged producer, and events of an older and a newer schema, are taken as what they are", async () => {
  const { energy_wh: _energy, ...older } = ended("job-older-0001", "gpu-1", "L1") as Record<string, unknown>;
  const found = await logged(() => {
    publish("node_left", left, { id: "forged", source: "router/r2" });
    publish("job_ended", older, { id: "older" });
    publish(
      "job_redispatched",
      {
        job_id: "job-older-0001",
        attempt: 2,
        from_node_id: "a",
        to_node_id: null,
        error: { code: "node_lost", message: "gone", retryable: true },
      },
      { id: "older-hop" },
    );
    publish("job_ended", { ...older, status: "frozen" }, { id: "newer-value" });
    publish("job_thawed", { job_id: "job-newer-0001" }, { id: "newer-type" });
    publish("job_ended", { ...older, colour: "blue" }, { id: "newer-field" });
  });
  expect(found).toMatchObject([
    { rejected: { reason: "ce-source: not the source of the subject" } },
    { id: "older", job_id: "job-older-0001" },
    { id: "older-hop", data: { decision: null, inputs: null } },
    { rejected: { reason: expect.stringMatching(/^status: /) } },
    { rejected: { reason: "ce-type: not an event of this mesh" } },
    { id: "newer-field" },
  ]);
  expect(JSON.stringify(found)).not.toContain("blue");
  expect(await auditor.health()).toMatchObject({ ok: true, problem: null });
  const verifier = parseVerifierKey(readFileSync(path.join(folder, "log-key.pub"), "utf8"));
  expect(verifyLog(path.join(folder, "tlog"), verifier, { keys: new StorageKeys([key]) }).problems).toEqual([]);
});
