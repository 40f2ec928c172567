import { expect, test } from "vitest";
import { MAX_ASKING, type RegistryReply } from "../../bus-schemas/index.ts";
import { FakeStore, keeper, key } from "../../test/kit/registrar-parts.ts";

const DAY_MS = 24 * 3_600_000;

async function inviting(more: { layer?: "L0" | "L1"; hours?: number } = {}) {
  const all = await keeper();
  const invite_key = key();
  const invited = await all.ask("invite", { invitation: { invite_key, layer: "L0", ...more }, by: "ada" });
  expect(invited).toMatchObject({ error: null, urls: ["nats://10.0.0.5:4222"] });
  const asks = (node_id: string, public_key: string, hostname: string | null = "host") =>
    all.ask("ask", { node_id, public_key, hostname });
  const decide = (node_id: string, public_key: string, approve: boolean, rest: object = {}) =>
    all.ask("decide", { node_id, public_key, approve, by: "ada", ...rest });
  return { ...all, invite_key, asks, decide };
}

const stateIn = ({ entries, error }: RegistryReply) => entries[0]?.state ?? error?.code;

test("a machine that asks has no right on the bus until it is approved; the invitation's own user may only ask", async () => {
  const { accounts, asks, decide, events, invite_key } = await inviting();
  const mine = key();
  const asked = await asks("laptop-7", mine, "ada-laptop");
  expect(asked.entries).toMatchObject([
    {
      state: "pending",
      public_key: mine,
      layer: "L0",
      hostname: "ada-laptop",
      by: "invitation by ada",
      join_key: null,
    },
  ]);
  const user = (accounts.at(-1) ?? "").split("{").find((part) => part.includes(invite_key)) ?? "";
  expect(user).toContain(invite_key);
  expect(accounts.at(-1)).not.toContain(mine);
  // It asks again and again.
  expect(stateIn(await asks("laptop-7", mine))).toBe("pending");
  expect(stateIn(await decide("laptop-7", mine, true))).toBe("joined");
  expect(accounts.at(-1)).toContain(mine);
  expect(stateIn(await asks("laptop-7", mine))).toBe("joined");
  expect(events.of("node_admitted").map(({ state }) => state)).toEqual(["pending", "joined"]);
});

test("an operator may let it in on another layer, and what is refused stays refused", async () => {
  const { accounts, asks, decide } = await inviting();
  const [one, other] = [key(), key()];
  await asks("a", one);
  await asks("b", other);
  expect(await decide("a", one, true, { layer: "L1" })).toMatchObject({ entries: [{ layer: "L1", state: "joined" }] });
  expect(await decide("b", other, false, { reason: "not ours" })).toMatchObject({ entries: [{ state: "revoked" }] });
  expect(accounts.at(-1)).not.toContain(other);
  expect(await asks("b", other)).toMatchObject({ entries: [{ state: "revoked", reason: "not ours" }] });
  expect(stateIn(await asks("b", key()))).toBe("conflict");
  expect(stateIn(await decide("b", other, true))).toBe("not_found");
});

test("who comes later under the same name takes nothing over, and only the key that was seen is let in", async () => {
  const { add, asks, decide } = await inviting();
  const [mine, thiefs] = [key(), key()];
  await asks("laptop-7", mine);
  expect(stateIn(await asks("laptop-7", thiefs))).toBe("conflict");
  expect(stateIn(await decide("laptop-7", thiefs, true))).toBe("conflict");
  await add("gpu-1");
  for (const name of ["gpu-1", "here"]) expect(stateIn(await asks(name, thiefs))).toBe("conflict");
  expect(stateIn(await asks("other", mine))).toBe("conflict");
  expect(stateIn(await decide("gpu-1", thiefs, true))).toBe("not_found");
});

test("without an invitation, after its end and after it was closed nobody new may ask; who waits is still told", async () => {
  const { ask } = await keeper();
  expect(stateIn(await ask("ask", { node_id: "a", public_key: key() }))).toBe("forbidden");
  const { accounts, asks, clock, invite_key, ask: say } = await inviting({ hours: 1 });
  const mine = key();
  await asks("a", mine);
  await say("invite", { invitation: null, by: "ada" });
  expect(stateIn(await asks("b", key()))).toBe("forbidden");
  expect(stateIn(await asks("a", mine))).toBe("pending");
  expect(accounts.at(-1)).toContain(invite_key);
  clock.nowMs += DAY_MS + 1;
  await say("list", {});
  await say("list", {});
  expect(accounts.at(-1)).not.toContain(invite_key);
});

test("a new invitation takes the place of the old one", async () => {
  const { accounts, ask, invite_key } = await inviting();
  const next = key();
  await ask("invite", { invitation: { invite_key: next, layer: "L1" }, by: "ada" });
  await ask("list", {});
  expect(accounts.at(-1)).toContain(next);
  expect(accounts.at(-1)).not.toContain(invite_key);
});

test("so many wait for an operator and no more, however long", async () => {
  const { asks, clock, events } = await inviting({ hours: 168 });
  for (let i = 0; i < MAX_ASKING; i++) await asks(`m${i}`, key());
  const mine = key();
  expect(stateIn(await asks("late", mine))).toBe("all_busy");
  expect(events.of("node_admitted")).toHaveLength(MAX_ASKING);
  clock.nowMs += 7 * DAY_MS - 1;
  expect(stateIn(await asks("late", mine))).toBe("all_busy");
});

test("an ask that is a week old is forgotten: the name is free, also for the same machine", async () => {
  const { asks, ask, clock } = await inviting({ hours: 1 });
  const mine = key();
  await asks("a", mine);
  await asks("b", key());
  clock.nowMs += 7 * DAY_MS;
  await ask("invite", { invitation: { invite_key: key(), layer: "L0" }, by: "ada" });
  expect(stateIn(await asks("a", mine))).toBe("pending");
  expect(stateIn(await asks("b", key()))).toBe("pending");
});

test("a flood of asks is turned away before it costs anything, and an operator is not kept waiting by it", async () => {
  const { bus, ask, store } = await inviting();
  const before = store.kept.size;
  for (let i = 0; i < 500; i++)
    bus.deliver("mesh.main.registry.ask", { node_id: `f${i}`, public_key: key() }, { reply: `_INBOX.flood.${i}` });
  const { entries } = await ask("list", {});
  expect(entries.length).toBeLessThanOrEqual(before + 32);
  const turnedAway = bus.sent.filter(({ subject }) => subject.startsWith("_INBOX.flood."));
  expect(turnedAway.length).toBeGreaterThanOrEqual(468);
  expect(store).toBeInstanceOf(FakeStore);
});

test.each([
  ["ask", { node_id: "a.b", public_key: "x" }],
  ["ask", { node_id: "a", public_key: "SUAAAA" }],
  ["ask", { node_id: "a", public_key: key(), hostname: "x".repeat(201) }],
  ["ask", "garbage"],
  ["invite", { invitation: { invite_key: key(), layer: "L2" }, by: "ada" }],
  ["invite", { invitation: { invite_key: key(), layer: "L0", hours: 1e9 }, by: "ada" }],
  ["invite", { by: "ada" }],
  ["decide", { node_id: "a", public_key: key(), by: "ada" }],
])("%s with %j is refused with the field", async (what, body) => {
  const { ask, store } = await inviting();
  expect(await ask(what, body)).toMatchObject({ error: { code: "bad_request" } });
  expect(store.kept.size).toBe(0);
});
