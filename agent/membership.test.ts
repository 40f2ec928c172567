import { mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { newUserNkey } from "../service/access/nkey-file.ts";
import { writeJoinToken } from "../service/access/join-token.ts";
import { freePorts } from "../test/kit/process-bus.ts";
import { tempDir } from "../test/kit/temp-dir.ts";
import { asMember, joinMesh, readMember, type Member } from "./membership.ts";

function stateDir(): string {
  const folder = tempDir("tiermesh-member-");
  onTestFinished(() => folder.remove());
  return folder.path;
}

/** As after a join. */
function joined(more: Partial<Member> = {}): { dir: string; member: Member } {
  const dir = stateDir();
  const folder = path.join(dir, "agent", "gpu-1");
  mkdirSync(folder, { recursive: true });
  const nkey_file = path.join(folder, "bus.nk");
  writeFileSync(nkey_file, "a seed");
  const urls = ["nats://10.0.0.5:4222", "nats://10.0.0.6:4222"];
  const member: Member = {
    v: 1,
    node_id: "gpu-1",
    layer: "L1",
    cell: "lab",
    urls,
    nkey_file,
    ca_file: null,
    waiting: null,
    ...more,
  };
  writeFileSync(path.join(dir, "agent", "member.json"), JSON.stringify(member));
  return { dir, member };
}

test("a machine that never joined is no member, and its agent starts with what its environment says", () => {
  const dir = stateDir();
  expect(readMember(dir)).toBeUndefined();
  const env = { TIERMESH_LAYER: "L1" };
  expect(asMember(env, dir)).toEqual(env);
});

test("a member's agent finds bus, key, name, layer and cell without being told", () => {
  const { dir, member } = joined();
  expect(readMember(dir)).toEqual(member);
  expect(asMember({ LOG_LEVEL: "INFO" }, dir)).toMatchObject({
    LOG_LEVEL: "INFO",
    TIERMESH_NATS_URL: "nats://10.0.0.5:4222,nats://10.0.0.6:4222",
    TIERMESH_NATS_NKEY: member.nkey_file,
    TIERMESH_NATS_PASSWORD: "",
    TIERMESH_NODE_ID: "gpu-1",
    TIERMESH_LAYER: "L1",
    TIERMESH_CELL: "lab",
  });
});

test("another bus in the environment wins over the membership; an empty variable says nothing", () => {
  const { dir } = joined();
  const env = { TIERMESH_NATS_URL: "nats://127.0.0.1:4222", TIERMESH_NODE_ID: "me" };
  expect(asMember(env, dir)).toEqual(env);
  expect(asMember({ TIERMESH_NATS_URL: "", TIERMESH_LAYER: "" }, dir)).toMatchObject({ TIERMESH_NODE_ID: "gpu-1" });
});

test.each([
  ["TIERMESH_NODE_ID", "other"],
  ["TIERMESH_LAYER", "L2"],
  ["TIERMESH_CELL", "main"],
])("%s that contradicts the membership is refused, because the broker would not let it speak so", (name, value) => {
  const { dir } = joined();
  expect(() => asMember({ [name]: value }, dir)).toThrow(new RegExp(`^${name}: this machine joined as gpu-1, L1`));
});

test.each(["", "null", "{", '{"v":2}', '{"v":1,"node_id":"a.b"}'])(
  "a member file with %j in it is damaged, and says how to get another",
  (text) => {
    const dir = stateDir();
    mkdirSync(path.join(dir, "agent"));
    writeFileSync(path.join(dir, "agent", "member.json"), text);
    for (const look of [() => readMember(dir), () => asMember({}, dir)])
      expect(look).toThrow(/member\.json is damaged; join again/);
  },
);

test("a token that is none leaves nothing behind", async () => {
  const dir = stateDir();
  await expect(joinMesh("tmjoin_AAAA", dir)).rejects.toMatchObject({ code: "bad_config", field: "join" });
  expect(readdirSync(dir)).toEqual([]);
});

test("where no bus answers the machine is no member, and its key is kept for the next try", async () => {
  const dir = stateDir();
  const [port = 0] = await freePorts(1);
  const token = writeJoinToken({
    v: 1,
    urls: [`nats://127.0.0.1:${port}`],
    cell: "main",
    node: "gpu-1",
    layer: "L1",
    seed: new TextDecoder().decode(newUserNkey().seed),
    expires_unix_ms: Date.now() + 60_000,
    ca_pem: null,
  });
  await expect(joinMesh(token, dir)).rejects.toMatchObject({ code: "bus_unavailable" });
  expect(readMember(dir)).toBeUndefined();
  expect(readdirSync(path.join(dir, "agent", "gpu-1"))).toEqual(["bus.nk.joining"]);
});

test("a join that fails leaves the membership that there is, and the authority its bus is checked by", async () => {
  const { dir, member } = joined();
  const authority = path.join(dir, "agent", "gpu-1", "bus-ca.pem");
  writeFileSync(authority, "the one that works");
  const [port = 0] = await freePorts(1);
  const { seed } = newUserNkey();
  const token = writeJoinToken({
    v: 1,
    urls: [`nats://127.0.0.1:${port}`],
    cell: "main",
    node: "gpu-1",
    layer: "L1",
    seed: new TextDecoder().decode(seed),
    expires_unix_ms: Date.now() + 60_000,
    ca_pem: "another one",
  });
  await expect(joinMesh(token, dir)).rejects.toThrow();
  expect([readFileSync(authority, "utf8"), readMember(dir)]).toEqual(["the one that works", member]);
});
