import { execFileSync } from "node:child_process";
import { copyFileSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import path from "node:path";
import { jetstreamManager } from "@nats-io/jetstream";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { AuditEntry } from "../../bus-schemas/index.ts";
import type { Bus } from "../../service/bus.ts";
import type { EventPublisher } from "../../service/events.ts";
import { linesOf, startAuditor } from "../kit/auditor-proc.ts";
import type { TestBus } from "../kit/bus.ts";
import { startEventBus } from "../kit/event-bus.ts";
import { verifyTree } from "../kit/signed-log.ts";
import { tempDir } from "../kit/temp-dir.ts";
import { waitFor } from "../kit/wait-for.ts";

const dir = tempDir("tiermesh-auditor-disk-");
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

const record = () => events.record("node_left", { node_id: "n1", layer: "L1", reason: null });

/** Limit of a running process on the size of its files, `soft:hard`; util-linux has the program. */
function limitFileSize(pid: number, limit: string): void {
  const program = "prlimit";
  execFileSync(program, ["--pid", String(pid), `--fsize=${limit}`]);
}

// A limit on file size is the one "disk full" that needs no rights and can be lifted again; only Linux has prlimit.
test.runIf(process.platform === "linux")(
  "a disk that takes no more stops acknowledgements, shows in health, and is gone on with",
  async () => {
    const folder = path.join(dir.path, "full");
    await using auditor = await startAuditor(server, folder);
    const manager = await jetstreamManager(bus.nc);
    const early = record();
    await early.durable;
    await waitFor(() => expect(linesOf(folder)).toHaveLength(1));
    limitFileSize(auditor.pid, "2000:unlimited");
    const recorded = Array.from({ length: 50 }, record);
    await Promise.all(recorded.map((event) => event.durable));
    await waitFor(
      async () => expect(await auditor.health()).toMatchObject({ ok: false, problem: expect.stringContaining("disk") }),
      { timeout: 20_000 },
    );
    expect((await manager.consumers.info("AUDIT", "auditor")).ack_floor.stream_seq).toBeLessThan(51);
    limitFileSize(auditor.pid, "unlimited:unlimited");
    const told = () => (linesOf(folder) as AuditEntry[]).filter(({ type }) => type === "audit_problem");
    await waitFor(() => expect(told().map(({ data }) => data)).toHaveLength(2));
    expect(told()).toMatchObject([
      { data: { kind: "disk", problem: "EFBIG" } },
      { data: { kind: "disk", problem: null } },
    ]);
    const entries = linesOf(folder) as AuditEntry[];
    expect(entries.map((entry) => entry.sequence)).toEqual(entries.map((_, i) => i + 1));
    const ids = new Set(entries.map((entry) => entry.id));
    expect(recorded.every((event) => ids.has(event.id))).toBe(true);
    expect(verifyTree(folder).problems).toEqual([]);
    await waitFor(async () => expect(await auditor.health()).toMatchObject({ ok: true, problem: null }));
  },
);

test("tiles that are deleted, cut or swapped under a running auditor are told of; the log goes on, and is whole when they are back", async () => {
  const folder = path.join(dir.path, "damaged");
  await (await jetstreamManager(bus.nc)).streams.delete(bus.subjects.auditorBucket.stream);
  await using auditor = await startAuditor(server, folder);
  const tlog = (name: string) => path.join(folder, "tlog", name);
  await Promise.all(Array.from({ length: 1200 }, () => record().durable));
  await waitFor(() => expect(verifyTree(folder).checkpoint?.size).toBeGreaterThan(1024));
  const good = new Map(
    ["tile/0/001", "tile/entries/002", "tile/entries/003"].map((name) => [name, readFileSync(tlog(name))]),
  );
  rmSync(tlog("tile/0/001"));
  truncateSync(tlog("tile/entries/002"), 100);
  copyFileSync(tlog("tile/entries/000"), tlog("tile/entries/003"));
  await waitFor(async () =>
    expect((await auditor.health())["damaged"]).toEqual(expect.arrayContaining([...good.keys()])),
  );
  const told = () => (linesOf(folder) as AuditEntry[]).filter(({ type }) => type === "audit_problem");
  await waitFor(() =>
    expect(told().at(-1)?.data).toMatchObject({ kind: "log", problem: expect.stringContaining("tile/") }),
  );
  const size = verifyTree(folder).checkpoint?.size ?? 0;
  await Promise.all(Array.from({ length: 300 }, () => record().durable));
  await waitFor(() => expect(verifyTree(folder).checkpoint?.size).toBeGreaterThanOrEqual(size + 300));
  for (const [name, data] of good) writeFileSync(tlog(name), data);
  await waitFor(() => expect(told().at(-1)?.data).toMatchObject({ kind: "log", problem: null }));
  expect(verifyTree(folder).problems).toEqual([]);
  expect(await auditor.health()).toMatchObject({ ok: true, damaged: [] });
});
