import { copyFileSync, mkdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { jetstreamManager } from "@nats-io/jetstream";
import { afterAll, beforeAll, expect, test } from "vitest";
import { AUDITORS, LogHead, type AuditEntry, type AuditorName } from "../../bus-schemas/index.ts";
import type { Bus } from "../../service/bus.ts";
import type { EventPublisher } from "../../service/events.ts";
import { linesOf, startAuditor } from "../kit/auditor-proc.ts";
import type { TestBus } from "../kit/bus.ts";
import { startEventBus } from "../kit/event-bus.ts";
import { buildForeignChecker, type ForeignChecker } from "../kit/foreign-go.ts";
import type { Proc } from "../kit/proc.ts";
import { verifyTree } from "../kit/signed-log.ts";
import { tempDir } from "../kit/temp-dir.ts";
import { waitFor } from "../kit/wait-for.ts";

const dir = tempDir("tiermesh-standby-");
let server: TestBus;
let bus: Bus;
let events: EventPublisher;
let stop: () => Promise<void>;
let go: ForeignChecker;

beforeAll(async () => {
  go = buildForeignChecker(path.join(dir.path));
  ({ server, bus, events, stop } = await startEventBus());
});
afterAll(async () => {
  await stop();
  await dir.remove();
});

const folderOf = (name: AuditorName) => path.join(dir.path, name);

async function start(name: AuditorName): Promise<Proc & { role: () => Promise<unknown> }> {
  const proc = await startAuditor(server, folderOf(name), {
    env: { TIERMESH_AUDITOR_ID: name, TIERMESH_AUDIT_KEY: path.join(folderOf("auditor"), "log-key") },
  });
  const role = async () => {
    const health = await proc.health();
    return health["ok"] === true ? health["role"] : health;
  };
  return { ...proc, role };
}

const LEFT = { node_id: "n1", layer: "L1", reason: null } as const;

/** Records events all the time; all of them, when it is stopped. */
function load() {
  const recorded: { id: string; durable: Promise<void> }[] = [];
  const stopping = new AbortController();
  const done = (async () => {
    while (!stopping.signal.aborted) {
      for (let i = 0; i < 40; i++) recorded.push(events.record("node_left", LEFT));
      await pause(20);
    }
  })();
  return {
    recorded,
    stop: async () => {
      stopping.abort();
      await done;
      await Promise.all(recorded.map(({ durable }) => durable));
    },
  };
}

/** Looks at both checkpoints all the time: one root for each size, for ever. */
function watchCheckpoints() {
  const roots = new Map<string, Set<string>>();
  const look = () => {
    for (const name of AUDITORS) {
      try {
        const [origin, size, root = ""] = readFileSync(path.join(folderOf(name), "tlog", "checkpoint"), "utf8").split(
          "\n",
        );
        const key = `${origin} ${size}`;
        roots.set(key, (roots.get(key) ?? new Set()).add(root));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
      }
    }
  };
  const timer = setInterval(look, 5);
  return {
    stop: () => {
      clearInterval(timer);
      look();
      expect([...roots].filter(([, all]) => all.size > 1)).toEqual([]);
      return roots.size;
    },
  };
}

const entriesOf = (name: AuditorName) => linesOf(folderOf(name)) as AuditEntry[];

async function agreed(): Promise<LogHead> {
  const { key, stream } = bus.subjects.auditorBucket;
  const message = await (await jetstreamManager(bus.nc)).streams.getMessage(stream, { last_by_subj: key });
  return LogHead.parse(message?.json());
}

test("the writer is killed, frozen and thawed under load: the other one goes on, and there is one log with each event once", async () => {
  const checkpoints = watchCheckpoints();
  let first = await start("auditor");
  const second = await start("auditor-2");
  const kept = path.join(dir.path, "kept");
  mkdirSync(kept);
  try {
    const running = load();
    await waitFor(async () => expect((await agreed()).size).toBeGreaterThan(1000));
    expect([await first.role(), await second.role()]).toEqual(["writer", "standby"]);
    copyFileSync(path.join(folderOf("auditor"), "tlog", "checkpoint"), path.join(kept, "1"));

    first.kill("SIGKILL");
    await first.exited;
    await waitFor(async () => expect(await second.role()).toBe("writer"));
    first = await start("auditor");
    const size = (await agreed()).size;
    await waitFor(async () => expect((await agreed()).size).toBeGreaterThan(size + 1000));
    expect([await first.role(), await second.role()]).toEqual(["standby", "writer"]);
    copyFileSync(path.join(folderOf("auditor-2"), "tlog", "checkpoint"), path.join(kept, "2"));

    second.kill("SIGSTOP");
    await waitFor(async () => expect(await first.role()).toBe("writer"));
    const frozen = readFileSync(path.join(folderOf("auditor-2"), "tlog", "checkpoint"), "utf8").split("\n");
    await waitFor(async () => expect((await agreed()).size).toBeGreaterThan(Number(frozen[1]) + 1000));
    second.kill("SIGCONT");
    await waitFor(async () => expect(await second.role()).toBe("standby"));

    await running.stop();
    const ids = running.recorded.map(({ id }) => id).toSorted();
    const ours = (name: AuditorName) => entriesOf(name).filter(({ type }) => type === "node_left");
    for (const name of AUDITORS) await waitFor(() => expect(ours(name)).toHaveLength(ids.length));
    for (const name of AUDITORS) {
      expect(
        ours(name)
          .map(({ id }) => id)
          .toSorted(),
      ).toEqual(ids);
      const all = entriesOf(name);
      expect(all.map(({ sequence }) => sequence)).toEqual(all.map((_, i) => i + 1));
      const changes = all.filter(({ type }) => type === "audit_writer_changed").map(({ data }) => data);
      expect(changes).toMatchObject([
        { auditor: "auditor-2", previous: "auditor" },
        { auditor: "auditor", previous: "auditor-2" },
      ]);
    }
    const { length } = entriesOf("auditor");
    for (const name of AUDITORS) await waitFor(() => expect(verifyTree(folderOf(name)).checkpoint?.size).toBe(length));
    expect(checkpoints.stop()).toBeGreaterThan(10);
    const key = readFileSync(path.join(folderOf("auditor"), "log-key.pub"), "utf8").trim();
    for (const name of AUDITORS) {
      expect(verifyTree(folderOf(name)).problems).toEqual([]);
      if (go.absent !== undefined) continue;
      const old = ["1", "2"].map((file) => path.join(kept, file));
      expect(go.run(path.join(folderOf(name), "tlog"), key, ...old)).toEqual({
        status: 0,
        out: `ok ${length}`,
        err: "",
      });
    }
  } finally {
    await first[Symbol.asyncDispose]();
    await second[Symbol.asyncDispose]();
  }
}, 120_000);

test("a writer that stops in order hands over at once", async () => {
  const first = await start("auditor");
  await using second = await start("auditor-2");
  try {
    await waitFor(async () =>
      expect(new Set([await first.role(), await second.role()])).toEqual(new Set(["standby", "writer"])),
    );
    const writer = (await first.role()) === "writer" ? first : second;
    const other = writer === first ? second : first;
    const taken = other.waitForLine(/"role":"writer"/, 20_000);
    writer.kill("SIGTERM");
    expect((await writer.exited).code).toBe(0);
    await taken;
    expect(await other.role()).toBe("writer");
  } finally {
    await first[Symbol.asyncDispose]();
  }
}, 60_000);
