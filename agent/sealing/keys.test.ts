import { expect, test } from "vitest";
import { SealKey, type Ticket } from "../../bus-schemas/index.ts";
import { TicketSigner } from "../../service/sealing/index.ts";
import { FakeBus } from "../../test/kit/router-parts.ts";
import { NodeKeys } from "./node-keys.ts";
import { RouterKeys } from "./router-keys.ts";
import { UsedTickets } from "./used-tickets.ts";

const DAY_MS = 86_400_000;

test("each new key is told with the one before it, so that it can be put on record", async () => {
  const clock = { nowMs: Date.now() };
  const told: [string, string | undefined][] = [];
  const keys = new NodeKeys(
    DAY_MS,
    () => clock.nowMs,
    (key, previous) => void told.push([key.kid, previous?.kid]),
  );
  const kids: string[] = [];
  for (let day = 0; day < 3; day++, clock.nowMs += DAY_MS) {
    await keys.rotate();
    await keys.rotate();
    kids.push(keys.announced[0]?.kid ?? "");
  }
  expect(told).toEqual([
    [kids[0], undefined],
    [kids[1], kids[0]],
    [kids[2], kids[1]],
  ]);
});

test("a node announces one key, replaces it when its time is over, and keeps the old one for a while", async () => {
  const clock = { nowMs: Date.now() };
  const keys = new NodeKeys(DAY_MS, () => clock.nowMs);
  expect(keys.announced).toEqual([]);
  await keys.rotate();
  const [first] = keys.announced;
  expect(SealKey.parse(first)).toEqual(first);
  clock.nowMs += DAY_MS - 1;
  await keys.rotate();
  expect(keys.announced).toEqual([first]);
  clock.nowMs += 1;
  await keys.rotate();
  const [second] = keys.announced;
  expect(second?.kid).not.toBe(first?.kid);
  expect(keys.find(first?.kid ?? "")).toBeDefined();
  clock.nowMs += 2 * 60_000 + 1;
  expect(keys.find(first?.kid ?? "")).toBeUndefined();
  expect(keys.find(second?.kid ?? "")).toBeDefined();
  expect(keys.find("never-made")).toBeUndefined();
});

test("a clock that was set back gives a new key instead of none", async () => {
  const clock = { nowMs: Date.now() };
  const keys = new NodeKeys(DAY_MS, () => clock.nowMs);
  await keys.rotate();
  const [first] = keys.announced;
  clock.nowMs -= 10 * DAY_MS;
  await keys.rotate();
  expect(keys.announced[0]?.kid).not.toBe(first?.kid);
  expect(keys.announced[0]?.not_after_unix_ms).toBe(clock.nowMs + DAY_MS + 2 * 60_000);
});

test("a router's key counts while it is announced, and five seconds longer", async () => {
  const clock = { nowMs: 0 };
  const bus = new FakeBus();
  const routers = new RouterKeys({ add: () => undefined }, () => clock.nowMs);
  routers.start(bus as never);
  const signer = new TicketSigner();
  const ticket = { router: "r1", signer: signer.kid } as Ticket;
  const token = signer.sign(ticket);
  bus.deliver("mesh.main.router.key.r1", { router: "r1", kid: signer.kid, public_key: signer.publicKey });
  expect(await routers.signed(ticket, token)).toBe(true);
  clock.nowMs = 5000;
  expect(await routers.signed(ticket, token)).toBe(true);
  clock.nowMs = 5001;
  expect(await routers.signed(ticket, token)).toBe(false);
});

test("a flood of tickets of unknown routers is refused at once instead of waiting", async () => {
  const routers = new RouterKeys({ add: () => undefined });
  const ticket = { router: "r1", signer: "k" } as Ticket;
  const waiting = Array.from({ length: 100 }, () => routers.signed(ticket, "x.y"));
  const first = await Promise.race([
    routers.signed(ticket, "x.y").then(() => "flood"),
    ...waiting.map((w) => w.then(() => "waited")),
  ]);
  expect(first).toBe("flood");
  expect(new Set(await Promise.all(waiting))).toEqual(new Set([false]));
});

test("a used ticket is remembered longer than it could be good, then forgotten", () => {
  const clock = { nowMs: 0 };
  const used = new UsedTickets(() => clock.nowMs);
  expect([used.take({ router: "a", id: "1" }), used.take({ router: "a", id: "1" })]).toEqual([true, false]);
  expect([used.take({ router: "b", id: "1" }), used.take({ router: "a", id: "2" })]).toEqual([true, true]);
  clock.nowMs = 60_000;
  expect(used.take({ router: "a", id: "1" })).toBe(false);
  clock.nowMs = 75_000;
  expect([used.take({ router: "c", id: "1" }), used.size]).toEqual([true, 1]);
});
