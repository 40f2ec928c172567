import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { writeInviteToken, type InviteToken } from "../service/access/join-token.ts";
import { newUserNkey } from "../service/access/nkey-file.ts";
import { createLog } from "../service/log.ts";
import { freePorts } from "../test/kit/process-bus.ts";
import { tempDir } from "../test/kit/temp-dir.ts";
import { askToBeLetIn, untilLetIn } from "./invitation.ts";
import { readMember, writeMember, type Member } from "./member-file.ts";

const quiet = createLog("test", "silent");

function stateDir(): string {
  const folder = tempDir("tiermesh-invitation-");
  onTestFinished(() => folder.remove());
  return folder.path;
}

const invitation = (more: Partial<InviteToken> = {}) =>
  writeInviteToken({
    v: 1,
    urls: ["nats://127.0.0.1:1"],
    cell: "main",
    seed: new TextDecoder().decode(newUserNkey().seed),
    expires_unix_ms: Date.now() + 1000,
    ca_pem: null,
    ...more,
  });

test.each([
  ["nothing", ""],
  ["a join token", "tmjoin_AAAA"],
  ["half an invitation", invitation().slice(0, -30)],
  ["one without an address", invitation({ urls: [] })],
])("%s is no invitation, and says so without quoting it", async (_, text) => {
  const asked = askToBeLetIn(text, stateDir());
  await expect(asked).rejects.toMatchObject({ code: "bad_config", field: "join" });
  await expect(asked).rejects.toThrow(/the join token is not good/);
});

test("a name that is none is refused before anything is asked", async () => {
  await expect(askToBeLetIn(invitation(), stateDir(), "a.b")).rejects.toMatchObject({ code: "bad_config" });
});

test("a bus that is not there makes nobody a member, and the next try asks with the same key", async () => {
  const [port = 0] = await freePorts(1);
  const dir = stateDir();
  const text = invitation({ urls: [`nats://127.0.0.1:${port}`] });
  const key = () => readFileSync(join(dir, "agent", "desk", "bus.nk.asking"), "utf8");
  await expect(askToBeLetIn(text, dir, "desk")).rejects.toMatchObject({ code: "bus_unavailable" });
  const first = key();
  await expect(askToBeLetIn(text, dir, "desk")).rejects.toMatchObject({ code: "bus_unavailable" });
  expect(key()).toBe(first);
  expect(readMember(dir)).toBeUndefined();
});

test("who has never asked, and who is in, waits for nothing; who waits stops when told", async () => {
  const dir = stateDir();
  const never = new AbortController().signal;
  await untilLetIn(dir, quiet, never);
  const [port = 0] = await freePorts(1);
  await expect(askToBeLetIn(invitation({ urls: [`nats://127.0.0.1:${port}`] }), dir, "desk")).rejects.toMatchObject({
    code: "bus_unavailable",
  });
  const member: Omit<Member, "waiting"> = {
    v: 1,
    node_id: "desk",
    layer: "L0",
    cell: "main",
    urls: [`nats://127.0.0.1:${port}`],
    nkey_file: join(dir, "agent", "desk", "bus.nk.asking"),
    ca_file: null,
  };
  writeMember(dir, { ...member, waiting: null });
  await untilLetIn(dir, quiet, never);
  writeMember(dir, { ...member, waiting: invitation({ urls: [`nats://127.0.0.1:${port}`] }) });
  const stop = new AbortController();
  const waiting = untilLetIn(dir, quiet, stop.signal);
  stop.abort();
  await waiting;
  expect(readMember(dir)?.waiting).toMatch(/^tminvite_/);
});
