import { expect, test } from "vitest";
import { FakeStore, keeper, key } from "../../test/kit/registrar-parts.ts";

test("a token is good once: the second who comes with it is refused, the first may ask again", async () => {
  const { accounts, add, ask, events } = await keeper();
  const joinKey = key();
  const added = await add("gpu-1", { join_key: joinKey });
  expect(added).toMatchObject({ urls: ["nats://10.0.0.5:4222"], entries: [{ state: "pending", join_key: joinKey }] });
  expect(accounts.at(-1)).toContain(joinKey);
  const mine = key();
  expect(await ask("join.gpu-1", { public_key: mine })).toMatchObject({
    error: null,
    entries: [{ state: "joined", public_key: mine, join_key: null, by: "token by ada" }],
  });
  // Its answer was lost.
  expect((await ask("join.gpu-1", { public_key: mine })).entries).toMatchObject([{ state: "joined" }]);
  const second = await ask("join.gpu-1", { public_key: key() });
  expect(second).toMatchObject({ entries: [], error: { code: "forbidden" } });
  expect(accounts.at(-1)).toContain(mine);
  expect(accounts.at(-1)).not.toContain(joinKey);
  expect(events.of("node_admitted").map(({ state }) => state)).toEqual(["pending", "joined"]);
});

test("the token's user is there until its holder has the answer, and gone then", async () => {
  const { accounts, add, ask } = await keeper();
  const joinKey = key();
  await add("gpu-1", { join_key: joinKey });
  const before = accounts.length;
  await ask("join.gpu-1", { public_key: key() });
  await ask("list", {});
  expect(accounts.slice(before).map((text) => text.includes(joinKey))).toEqual([true, false]);
});

test("a token that is too old is refused, and its user is gone with its time", async () => {
  const { accounts, add, ask, clock } = await keeper();
  const joinKey = key();
  await add("gpu-1", { join_key: joinKey, hours: 1 });
  clock.nowMs += 3_600_000;
  expect(await ask("join.gpu-1", { public_key: key() })).toMatchObject({ error: { code: "forbidden" } });
  await ask("list", {});
  expect(accounts.at(-1)).not.toContain(joinKey);
});

test("a second token for a node takes the first one's place; for one that has joined it takes --replace", async () => {
  const { accounts, add, ask } = await keeper();
  const [first, second, mine] = [key(), key(), key()];
  await add("gpu-1", { join_key: first });
  await add("gpu-1", { join_key: second });
  expect(accounts.at(-1)).toContain(second);
  expect(accounts.at(-1)).not.toContain(first);
  await ask("join.gpu-1", { public_key: mine });
  expect(await add("gpu-1")).toMatchObject({ error: { code: "conflict", field: "node_id" } });
  expect(accounts.at(-1)).toContain(mine);
  expect((await add("gpu-1", { replace: true })).entries).toMatchObject([{ state: "pending", public_key: null }]);
  expect(accounts.at(-1)).not.toContain(mine);
});

test("a revoked node is in no accounts when its revoker has the answer, and neither token nor key brings it back", async () => {
  const { accounts, add, ask, events } = await keeper();
  const mine = key();
  await add("gpu-1");
  await ask("join.gpu-1", { public_key: mine });
  expect(await ask("revoke", { node_id: "gpu-1", by: "ada", reason: "stolen" })).toMatchObject({
    entries: [{ state: "revoked", public_key: mine, reason: "stolen" }],
  });
  expect(accounts.at(-1)).not.toContain(mine);
  expect(await ask("join.gpu-1", { public_key: mine })).toMatchObject({ error: { code: "forbidden" } });
  expect(await ask("revoke", { node_id: "gpu-1", by: "bob" })).toMatchObject({ entries: [{ by: "ada" }] });
  expect(events.of("node_admitted").at(-1)).toMatchObject({ state: "revoked", reason: "stolen" });
  expect(await ask("revoke", { node_id: "nobody", by: "ada" })).toMatchObject({ error: { code: "not_found" } });
});

test("a token that is out is revoked with its node", async () => {
  const { accounts, add, ask } = await keeper();
  const joinKey = key();
  await add("gpu-1", { join_key: joinKey });
  await ask("revoke", { node_id: "gpu-1", by: "ada" });
  expect(accounts.at(-1)).not.toContain(joinKey);
  expect(await ask("join.gpu-1", { public_key: key() })).toMatchObject({ error: { code: "forbidden" } });
});

test("of two keepers at once one wins: the other's asker hears of a conflict, and may look again", async () => {
  const store = new FakeStore();
  const [one, two] = [await keeper(store), await keeper(store)];
  await one.add("gpu-1");
  const [first, second] = [key(), key()];
  store.inBetween = () => two.ask("join.gpu-1", { public_key: first });
  expect(await one.ask("join.gpu-1", { public_key: second })).toMatchObject({ error: { code: "conflict" } });
  expect((await one.ask("list", {})).entries).toMatchObject([{ public_key: first }]);
  expect(one.accounts.at(-1)).toContain(first);
  expect(one.accounts.join("")).not.toContain(second);
  expect(await one.ask("join.gpu-1", { public_key: second })).toMatchObject({ error: { code: "forbidden" } });
});

test("the broker's own machine needs no token, is not let in twice and not shown out", async () => {
  const { add, ask } = await keeper();
  expect(await add("here")).toMatchObject({ error: { code: "conflict", field: "node_id" } });
  expect(await add("here", { replace: true })).toMatchObject({ error: { code: "conflict" } });
  expect(await ask("revoke", { node_id: "here", by: "ada" })).toMatchObject({ error: { code: "conflict" } });
});

test("a key that another node has is refused, so that no node speaks for two", async () => {
  const { add, ask } = await keeper();
  const [shared, token] = [key(), key()];
  await add("gpu-1");
  await ask("join.gpu-1", { public_key: shared });
  await add("gpu-2", { join_key: token });
  for (const public_key of [shared, token])
    expect(await ask("join.gpu-2", { public_key })).toMatchObject({ error: { code: "conflict", field: "public_key" } });
});

test.each([
  ["add", {}, "node_id"],
  ["add", { node_id: "a.b", layer: "L1", join_key: key(), by: "ada" }, "node_id"],
  ["add", { node_id: "a", layer: "L9", join_key: key(), by: "ada" }, "layer"],
  ["add", { node_id: "a", layer: "L1", join_key: "SUA secret", by: "ada" }, "join_key"],
  ["add", { node_id: "a", layer: "L1", join_key: key(), by: "ada", hours: 1000 }, "hours"],
  ["add", { node_id: "a", layer: "L1", join_key: key(), by: "ada", hours: 0 }, "hours"],
  ["revoke", { node_id: 7, by: "ada" }, "node_id"],
  ["revoke", { node_id: "a" }, "by"],
  ["join.gpu-1", { public_key: `U${"A".repeat(54)}"` }, "public_key"],
  ["join.gpu-1", null, undefined],
  ["add", new Uint8Array([0xff, 0]), undefined],
])("%s with %j is answered by name of the field, quoted nowhere, and changes nothing", async (what, body, field) => {
  const { accounts, ask, rejected, store } = await keeper();
  const { error, entries } = await ask(what, body);
  expect(error).toMatchObject({ code: "bad_request", ...(field === undefined ? {} : { field }) });
  expect(error?.message).not.toContain("SUA secret");
  expect([entries, accounts.length, store.kept.size]).toEqual([[], 1, 0]);
  expect(rejected).toMatchObject([["registry", { code: "bad_request" }]]);
});

test("a request without an inbox to answer to, as JetStream's own are, changes nothing", async () => {
  const { ask, bus, rejected, store } = await keeper();
  const body = { node_id: "evil", layer: "L1", join_key: key(), by: "auditor" };
  for (const reply of ["", "$JS.ACK.AUDIT.auditor.1.2.3.4.5", "mesh.main.registry.add"])
    bus.deliver("mesh.main.registry.add", body, { reply });
  expect((await ask("list", {})).entries).toEqual([]);
  expect(store.kept.size).toBe(0);
  expect(rejected.map(([, { field }]) => field)).toEqual(["reply", "reply", "reply"]);
});

test("when the broker does not take the accounts, the asker hears it and the next request tries again", async () => {
  const taken: string[] = [];
  let broken = false;
  const setAccounts = async (text: string) => {
    if (broken) throw new Error("reload failed at /home/ada/bus");
    taken.push(text);
  };
  const { add, ask } = await keeper(new FakeStore(), { setAccounts });
  broken = true;
  const joinKey = key();
  const { error } = await add("gpu-1", { join_key: joinKey });
  expect(error).toMatchObject({ code: "internal" });
  expect(error?.message).not.toContain("/home");
  broken = false;
  await ask("list", {});
  expect(taken.at(-1)).toContain(joinKey);
});
