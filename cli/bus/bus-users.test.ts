import { readFileSync, readdirSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { NodeEntry, ownInbox, type NodeEntry as Entry } from "../../bus-schemas/index.ts";
import { newUserNkey, readNkeyFile } from "../../service/access/nkey-file.ts";
import { tempDir } from "../../test/kit/temp-dir.ts";
import { BusUsers, SHARED_ROLES } from "./bus-users.ts";

const NOW = Date.parse("2026-11-25");
const key = () => newUserNkey().publicKey;

function folder(): string {
  const dir = tempDir("tiermesh-users-");
  onTestFinished(() => dir.remove());
  return dir.path;
}

const entry = (more: Partial<Entry>): Entry =>
  NodeEntry.parse({
    node_id: "gpu-1",
    layer: "L1",
    state: "pending",
    join_key: null,
    join_expires_unix_ms: null,
    public_key: null,
    by: "ada",
    reason: null,
    changed_unix_ms: NOW,
    ...more,
  });

test("each role has a key of its own, made once, kept, readable by its owner only", () => {
  const dir = folder();
  const users = new BusUsers(dir, "main", []);
  const publicKeys = SHARED_ROLES.map((role) => readNkeyFile(users.keyFile(role)).publicKey);
  expect(new Set(publicKeys).size).toBe(SHARED_ROLES.length);
  const again = new BusUsers(dir, "main", []);
  expect(SHARED_ROLES.map((role) => readNkeyFile(again.keyFile(role)).publicKey)).toEqual(publicKeys);
  const text = again.render([], NOW);
  for (const publicKey of publicKeys) expect(text).toContain(publicKey);
  if (process.platform === "win32") return;
  expect(statSync(path.join(dir, "keys")).mode & 0o777).toBe(0o700);
  for (const file of readdirSync(path.join(dir, "keys")))
    expect(statSync(path.join(dir, "keys", file)).mode & 0o777).toBe(0o600);
});

test("no seed is in the accounts", () => {
  const dir = folder();
  const text = new BusUsers(dir, "main", []).render([], NOW);
  for (const file of readdirSync(path.join(dir, "keys")))
    expect(text).not.toContain(readFileSync(path.join(dir, "keys", file), "utf8").trim());
});

test("a key file that is none is refused by name, and its content is not quoted", () => {
  const dir = folder();
  const users = new BusUsers(dir, "main", []);
  writeFileSync(users.keyFile("router"), "SUsomething secret");
  expect(() => new BusUsers(dir, "main", [])).toThrow(/router\.nk/);
  expect(() => new BusUsers(dir, "main", [])).not.toThrow(/something secret/);
});

test("a node is a user while it is joined, and a token while it is out and in time", () => {
  const users = new BusUsers(folder(), "main", []);
  const [mine, token] = [key(), key()];
  const has = (...entries: Entry[]) => {
    const text = users.render(entries, NOW);
    return [text.includes(mine), text.includes(token)];
  };
  const pending = entry({ join_key: token, join_expires_unix_ms: NOW + 1 });
  expect(has()).toEqual([false, false]);
  expect(has(pending)).toEqual([false, true]);
  expect(has({ ...pending, join_expires_unix_ms: NOW })).toEqual([false, false]);
  expect(has(entry({ state: "joined", public_key: mine }))).toEqual([true, false]);
  expect(has(entry({ state: "revoked", public_key: mine }))).toEqual([false, false]);
});

test("the holder of a token that was just used is heard to the end of its request", () => {
  const users = new BusUsers(folder(), "main", []);
  const [mine, token] = [key(), key()];
  const joined = entry({ state: "joined", public_key: mine });
  const text = users.render([joined], NOW, { stillJoining: { key: token, node: "gpu-1" } });
  expect(text).toContain(token);
  expect(text).toContain(mine);
});

test("a node on L2 is an egress node: nothing of P0 or P1 is granted to it", () => {
  const users = new BusUsers(folder(), "main", []);
  const text = users.render([entry({ layer: "L2", state: "joined", public_key: key() })], NOW);
  expect(text).toContain("# egress gpu-1, L2");
  expect(text).toContain("mesh.main.job.run.P2.gpu-1");
  expect(text).not.toContain("mesh.main.job.run.P0.gpu-1");
});

test("an entry with the name of a node of the broker's own machine does not take its place", () => {
  const [local, other] = [key(), key()];
  const users = new BusUsers(folder(), "main", [{ nodeId: "here", layer: "L0", publicKey: local }]);
  const text = users.render([entry({ node_id: "here", state: "joined", public_key: other })], NOW);
  expect(text).toContain(local);
  expect(text).not.toContain(other);
});

test("the operator's tools have their inboxes where all do, without the others' own ones", () => {
  const users = new BusUsers(folder(), "main", []);
  const tools = readNkeyFile(users.keyFile("operator-tools"));
  const text = users.render([], NOW);
  const block = text.slice(text.indexOf("# operator-tools"));
  expect(block).toContain(tools.publicKey);
  expect(block).toMatch(/allow: \[[^\]]*"_INBOX\.>"\], deny: \[[^\]]*"_INBOX\.own\.>"/);
  expect(text).toContain(`${ownInbox(readNkeyFile(users.keyFile("gateway")).publicKey)}.>`);
});

test("with separate duties the operator's keys are an administrator's, and each of the three has a key of its own", () => {
  const dir = folder();
  const blockOf = (text: string, label: string) => text.slice(text.indexOf(`# ${label}\n`)).split("\n      }\n")[0];
  const together = new BusUsers(dir, "main", []).render([], NOW);
  expect(blockOf(together, "operator")).toContain("registry.add");
  const users = new BusUsers(dir, "main", [], "separate");
  const apart = users.render([], NOW);
  for (const label of ["operator", "operator-tools"])
    expect(blockOf(apart, label)).not.toMatch(/registry\.add|audit\.query|KV\.tiermesh-policy|main\.event\./);
  expect(blockOf(apart, "security")).toContain("$KV.tiermesh-policy-main.routing");
  expect(blockOf(apart, "security")).not.toMatch(/node\.control|audit\.query/);
  expect(blockOf(apart, "inspector")).toContain("audit.query");
  expect(blockOf(apart, "inspector")).not.toMatch(/node\.control|registry\.add|\$KV\./);
  const names = ["operator", "security", "inspector"] as const;
  expect(new Set(names.map((name) => users.publicKey(name))).size).toBe(3);
});

test("the entries are kept for the next start; a file that is not theirs counts as none", async () => {
  const dir = folder();
  const users = new BusUsers(dir, "main", []);
  expect(users.lastEntries()).toEqual([]);
  await users.keepEntries([]);
  expect(readdirSync(dir)).toEqual(["keys"]);
  const joined = entry({ state: "joined", public_key: key() });
  await users.keepEntries([joined]);
  expect(new BusUsers(dir, "main", []).lastEntries()).toEqual([joined]);
  await users.keepEntries([]);
  expect(users.lastEntries()).toEqual([]);
  for (const text of ["", "null", "[1]", '[{"node_id":"a.b"}]', "\u0000"]) {
    writeFileSync(path.join(dir, "nodes.json"), text);
    expect(users.lastEntries()).toEqual([]);
  }
});
