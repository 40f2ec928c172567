import { writeFileSync } from "node:fs";
import path from "node:path";
import { headers as newHeaders } from "@nats-io/nats-core";
import { jetstream } from "@nats-io/jetstream";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { AuditEntry, AuditorName } from "../../bus-schemas/index.ts";
import { connectBus, type Bus } from "../../service/bus.ts";
import { createLog } from "../../service/log.ts";
import { ensureAuditStream } from "../../service/streams.ts";
import { linesOf, startAuditor, type AuditorProc } from "../kit/auditor-proc.ts";
import { startTestBus, type TestBus } from "../kit/bus.ts";
import { verifyTree } from "../kit/signed-log.ts";
import { decided } from "../kit/recorded-jobs.ts";
import { tempDir } from "../kit/temp-dir.ts";
import { waitFor } from "../kit/wait-for.ts";

const DAY_MS = 24 * 3600 * 1000;
/** The clock's error, one after the other: a day and ten years, to either side. */
const JUMPS = [0, DAY_MS, 0, -DAY_MS, 3650 * DAY_MS, -3650 * DAY_MS, 0];
const PER_JUMP = 100;
const CLOCK = path.join(import.meta.dirname, "..", "kit", "shifting-clock.mjs");

const dir = tempDir("tiermesh-clock-");
const at = (name: string) => path.join(dir.path, name);
let server: TestBus;
let bus: Bus;

beforeAll(async () => {
  server = await startTestBus();
  bus = await connectBus(
    "test",
    { url: server.url, user: server.user, password: server.pass },
    createLog("test", "silent"),
  );
});
afterAll(async () => {
  await bus.drain();
  await server.stop();
  await dir.remove();
});

/** Publishes events as of senders whose clocks are right. */
async function publish(ids: readonly string[]): Promise<void> {
  const js = jetstream(bus.nc);
  for (const id of ids) {
    const headers = newHeaders();
    const all = { id, source: "router/r1", type: "tiermesh.job_decided", time: new Date().toISOString() };
    for (const [name, value] of Object.entries(all)) headers.set(`ce-${name}`, value);
    const jobId = `job-${id}`;
    const data = { ...decided(jobId, "gpu-1", "L1"), deadline_unix_ms: Date.now() + 10 * 60_000 };
    await js.publish(bus.subjects.event("job_decided", "P2", "router", "r1"), JSON.stringify(data), { headers });
  }
}

test("clocks that leap a day and ten years, each auditor's its own, change neither order nor checkpoints nor turns, tell nothing lost, and remove nothing", async () => {
  await ensureAuditStream(bus);
  const procs: AuditorProc[] = [];
  const start = async (name: AuditorName) => {
    const clockFile = at(`${name}.clock`);
    writeFileSync(clockFile, "0");
    const proc = await startAuditor(server, at(name), {
      nodeFlags: ["--import", CLOCK],
      env: {
        TEST_CLOCK_FILE: clockFile,
        TIERMESH_AUDITOR_ID: name,
        TIERMESH_AUDIT_KEY: path.join(at("auditor"), "log-key"),
        TIERMESH_AUDIT_CHECK_MS: "100",
      },
    });
    procs.push(proc);
    return proc;
  };
  const [writer, standby] = [await start("auditor"), await start("auditor-2")];
  const ids: string[] = [];
  for (const [i, jump] of JUMPS.entries()) {
    writeFileSync(at("auditor.clock"), String(jump));
    writeFileSync(at("auditor-2.clock"), String(-jump));
    const fresh = Array.from({ length: PER_JUMP }, (_, n) => `id-${i}-${n}`);
    // The last ones before the leap come again behind it.
    await publish([...ids.slice(-10), ...fresh]);
    ids.push(...fresh);
    for (const proc of [writer, standby])
      await waitFor(async () => {
        const { tree_size: size, search } = await proc.health();
        expect(size).toBeGreaterThanOrEqual(ids.length);
        expect(search).toMatchObject({ indexed: size });
      });
  }
  expect(await writer.health()).toMatchObject({ role: "writer", problem: null, gaps: 0, clock_trusted: false });
  expect(await standby.health()).toMatchObject({ role: "standby", problem: null });
  const logged = linesOf(at("auditor")).filter((entry): entry is AuditEntry => "id" in entry);
  expect(logged.filter(({ type }) => type === "job_decided").map(({ id }) => id)).toEqual(ids);
  expect(logged.filter(({ type }) => ["audit_gap", "audit_pruned", "audit_writer_changed"].includes(type))).toEqual([]);
  const [first, second] = ["auditor", "auditor-2"].map((name) => verifyTree(at(name)));
  expect([first?.problems, second?.problems]).toEqual([[], []]);
  for (const proc of procs) proc.kill("SIGTERM");
  await Promise.all(procs.map(({ exited }) => exited));
}, 60_000);
