import { fileURLToPath } from "node:url";
import { jetstreamManager } from "@nats-io/jetstream";
import { expect, test } from "vitest";
import { connectBus } from "../../service/bus.ts";
import { createLog } from "../../service/log.ts";
import { ensureAuditStream } from "../../service/streams.ts";
import { startTestBus } from "../kit/bus.ts";
import { startProc } from "../kit/proc.ts";
import { tempDir } from "../kit/temp-dir.ts";

const OWNER = fileURLToPath(new URL("spool-owner.ts", import.meta.url));
const LIVES = 5;
const EVENTS_PER_LIFE = 100;

test("kill -9 again and again, without and with a stream: every event that was recorded is stored once", async () => {
  await using server = await startTestBus();
  await using home = tempDir();
  const bus = await connectBus(
    "test",
    { url: server.url, user: server.user, password: server.pass },
    createLog("test", "silent"),
  );
  const recorded = new Set<string>();
  const live = async (events: number) => {
    await using owner = startProc(OWNER, {
      args: [server.url, server.user, server.pass, home.path],
    });
    await owner.waitForLine(/^sent again/);
    await expect.poll(() => owner.lines.length, { timeout: 20_000 }).toBeGreaterThan(events);
    owner.kill("SIGKILL");
    await owner.exited;
    for (const line of owner.lines) if (line.startsWith("recorded ")) recorded.add(line.slice("recorded ".length));
    return Number(owner.lines[0]?.slice("sent again ".length));
  };
  // Nobody takes events yet: the second life has all of the first one's to send.
  await live(EVENTS_PER_LIFE);
  const first = recorded.size;
  expect(await live(EVENTS_PER_LIFE)).toBeGreaterThanOrEqual(first);
  await ensureAuditStream(bus);
  for (let i = 0; i < LIVES; i++) await live(EVENTS_PER_LIFE);

  const manager = await jetstreamManager(bus.nc);
  const stored = async () => {
    const { state } = await manager.streams.info("AUDIT");
    const ids: string[] = [];
    for (let seq = 1; seq <= state.last_seq; seq++)
      ids.push((await manager.streams.getMessage("AUDIT", { seq }))?.header.get("ce-id") ?? "");
    return ids;
  };
  // One more life, only to deliver what the last one left.
  await using last = startProc(OWNER, {
    args: [server.url, server.user, server.pass, home.path],
  });
  await last.waitForLine(/^recorded/);
  await expect
    .poll(async () => (await manager.streams.info("AUDIT")).state.messages, { timeout: 20_000 })
    .toBeGreaterThan(recorded.size);
  last.kill("SIGKILL");
  await last.exited;
  const ids = await stored();
  expect(ids.length).toBe(new Set(ids).size);
  expect([...recorded].filter((id) => !ids.includes(id))).toEqual([]);
  await bus.drain();
});
