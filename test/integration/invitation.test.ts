import { statSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { joinMesh, readMember } from "../../agent/membership.ts";
import { readInviteToken } from "../../service/access/join-token.ts";
import { readNkeyFile, userNkeyOf } from "../../service/access/nkey-file.ts";
import { eventually, startMesh, type TestMesh } from "../kit/mesh.ts";
import { startProc, type Proc } from "../kit/proc.ts";
import { RawNats } from "../kit/raw-nats.ts";
import { tempDir } from "../kit/temp-dir.ts";

/** Machines without a token of their own ask by an invitation, and have no right on the bus until an operator has said yes. */

const MAIN = fileURLToPath(new URL("../../cli/main.ts", import.meta.url));
let mesh: TestMesh;
let invitation = "";
const agents: Proc[] = [];

beforeAll(async () => {
  mesh = await startMesh();
  const invited = await mesh.run("node", "invite", "--hours", "2");
  invitation = invited.out.trim();
  expect(invited).toMatchObject({
    code: 0,
    out: expect.stringMatching(/^tminvite_/),
    err: expect.stringContaining("approve"),
  });
});
afterAll(async () => {
  for (const agent of agents) await agent[Symbol.asyncDispose]();
  await mesh?.[Symbol.asyncDispose]();
});

function machine(): string {
  const folder = tempDir("tiermesh-asking-");
  onTestFinished(() => folder.remove());
  return folder.path;
}

const listed = async (): Promise<Record<string, unknown>[]> => {
  const { out } = await mesh.run("node", "list", "--json");
  return JSON.parse(out) as Record<string, unknown>[];
};

test("a machine that asks shows a fingerprint, its agent waits, and it is in when an operator has compared it", async () => {
  const home = machine();
  const file = path.join(home, "invitation.txt");
  writeFileSync(file, `${invitation}\n`);
  const agent = startProc(MAIN, {
    args: ["agent", "run", "--join", invitation],
    env: { ...mesh.env, TIERMESH_HOME: home, TIERMESH_NODE_ID: "laptop-7", TIERMESH_SUPERVISED: undefined },
  });
  agents.push(agent);
  const [, shown = ""] = await agent.waitForLine(
    /asks to be let in as laptop-7: .*fingerprint ([0-9a-f-]{24})/,
    30_000,
  );
  expect(statSync(path.join(home, "agent", "member.json")).mode & 0o777).toBe(0o600);
  const { out } = await mesh.run("node", "list");
  expect(out).toMatch(new RegExp(`laptop-7 +L0 +pending: asks .*${shown}`));
  // Nobody is let in by mistake: not by a question that nobody answers, and not under another fingerprint.
  const unasked = await mesh.run("node", "approve", "laptop-7");
  expect(unasked).toMatchObject({ code: 1, err: expect.stringContaining(shown) });
  const wrong = await mesh.run("node", "approve", "laptop-7", "--fingerprint", "0000-0000-0000-0000-0000");
  expect(wrong).toMatchObject({ code: 1, err: expect.stringContaining("not let in") });
  expect(await listed()).toMatchObject([{ node_id: "laptop-7", state: "pending" }]);
  const approved = await mesh.run("node", "approve", "laptop-7", "--fingerprint", shown, "--layer", "L1");
  expect(approved).toMatchObject({ code: 0, out: expect.stringContaining("laptop-7 is in, on L1") });
  await eventually(
    "its heartbeat",
    async () => {
      const { out: json } = await mesh.run("nodes", "--layer", "L1", "--json");
      return (JSON.parse(json) as object[]).length === 1;
    },
    60_000,
  );
  expect(readMember(home)).toMatchObject({ waiting: null, layer: "L1" });
  const { out: table } = await mesh.run("node", "inventory");
  expect(table.split(/\r?\n/).find((line) => line.startsWith("laptop-7,"))).toMatch(/^laptop-7,,L1,joined,2/);
});

test("before that its key opens nothing, and the invitation's own key only asks", async () => {
  const home = machine();
  const member = await joinMesh(invitation, home, "desk-2");
  expect(member).toMatchObject({ node_id: "desk-2", waiting: invitation });
  const port = mesh.busPort;
  await expect(RawNats.open(port, readNkeyFile(member.nkey_file))).rejects.toThrow(/Authorization/i);
  const asker = await RawNats.open(port, userNkeyOf(readInviteToken(invitation).seed, "test"));
  onTestFinished(() => asker[Symbol.asyncDispose]());
  const refused = [
    "mesh.main.heartbeat.L0.desk-2",
    "mesh.main.registry.add",
    "mesh.main.registry.decide",
    "mesh.main.job.submit.chat",
  ];
  for (const subject of refused) asker.publish(subject, "{}");
  await asker.flush();
  expect(asker.errors).toEqual(refused.map((subject) => `'Permissions Violation for Publish to "${subject}"'`));
});

test("another machine under the same name is refused with what to do, and asking again changes nothing", async () => {
  const home = machine();
  const first = await joinMesh(invitation, home, "desk-3");
  expect(await joinMesh(invitation, home)).toEqual(first);
  await expect(joinMesh(invitation, machine(), "desk-3")).rejects.toMatchObject({ code: "conflict", field: "node_id" });
  const denied = await mesh.run("node", "deny", "desk-3", "--reason", "not ours");
  expect(denied).toMatchObject({ code: 0, out: "desk-3 is refused" });
  await expect(joinMesh(invitation, home)).rejects.toMatchObject({
    code: "forbidden",
    message: expect.stringContaining("not ours"),
  });
  // Whoever else waits, and nobody who is in.
  expect(await mesh.run("node", "deny", "--all")).toMatchObject({ code: 0, out: "desk-2 is refused" });
  expect(await mesh.run("node", "deny")).toMatchObject({ code: 1, err: expect.stringContaining("--all") });
});

test("a closed invitation lets nobody new ask, and a machine that is in stays in whatever it is handed", async () => {
  const home = machine();
  const { out: token } = await mesh.run("node", "add", "gpu-5", "--layer", "L1");
  const joined = await joinMesh(token.split("\n")[0] ?? "", home);
  expect(await joinMesh(invitation, home, "another")).toEqual(joined);
  expect(await mesh.run("node", "invite", "--close")).toMatchObject({ code: 0 });
  await expect(joinMesh(invitation, machine(), "late")).rejects.toMatchObject({ code: "forbidden" });
});
