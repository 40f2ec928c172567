import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startMesh, type TestMesh } from "../kit/mesh.ts";
import { RawNats } from "../kit/raw-nats.ts";
import { userNkeyOf } from "../../service/access/nkey-file.ts";
import { waitFor } from "../kit/wait-for.ts";

/** Readers of events, with the sample consumers of docs/examples as their programs. */

const EXAMPLES = path.join(import.meta.dirname, "..", "..", "docs", "examples", "audit-consumer");
let mesh: TestMesh;

beforeAll(async () => {
  mesh = await startMesh();
});
afterAll(() => mesh[Symbol.asyncDispose]());

const fileOf = (name: string) => path.join(mesh.home, `${name}.json`);
const subscribe = (name: string, ...args: string[]) =>
  mesh.run("audit", "subscribe", name, "--from-start", "--out", fileOf(name), ...args);

/** Why a language's sample cannot run here, or how it does. */
const samples: Record<string, { absent: string | undefined; command: string[] }> = {
  TypeScript: { absent: undefined, command: [process.execPath, path.join(EXAMPLES, "consumer.ts")] },
  Python: {
    absent:
      spawnSync("python3", ["-c", "import nats, nkeys"]).status === 0 ? undefined : "no Python with nats-py and nkeys",
    command: ["python3", path.join(EXAMPLES, "consumer.py")],
  },
  Go: {
    absent: process.env["TIERMESH_TEST_GO_CONSUMER"] === undefined ? "no built Go sample is named" : undefined,
    command: [process.env["TIERMESH_TEST_GO_CONSUMER"] ?? ""],
  },
};

for (const [language, { absent, command }] of Object.entries(samples)) {
  if (absent !== undefined) process.stderr.write(`the ${language} sample consumer is not run: ${absent}\n`);
  test.skipIf(absent !== undefined)(
    `the ${language} sample reads what its filter lets through, and goes on where it was`,
    async () => {
      const name = `reader-${language}`;
      const made = await subscribe(name, "--filter", "process_started", "--filter", "counts_reported.none");
      expect([made.code, made.err]).toEqual([0, ""]);
      const [program = "", ...args] = command;
      const read = (count: number) => {
        const ran = spawnSync(program, [...args, fileOf(name), String(count)], { encoding: "utf8", timeout: 60_000 });
        expect([ran.status, ran.stderr]).toEqual([0, ""]);
        return ran.stdout.trim().split("\n");
      };
      const lines = [...read(2), ...read(3)];
      expect(new Set(lines.map((line) => line.split(" ").at(-1))).size).toBe(5);
      for (const line of lines)
        expect(line).toMatch(
          /^\S+T\S+Z (process_started none keeper\/|counts_reported none (agent|router|gateway)\/)\S+ - \S+$/,
        );
    },
  );
}

test("a reader's key reads by its consumer and does nothing else; taken back, it does nothing at all", async () => {
  expect((await subscribe("siem-1")).code).toBe(0);
  const taken = await mesh.run("audit", "subscribe", "siem-1", "--out", fileOf("other"));
  expect([taken.code, taken.err]).toEqual([1, expect.stringContaining("siem-1 is in use")]);
  expect((await mesh.run("audit", "subscribe", "auditor", "--out", fileOf("x"))).err).toContain("the auditor's own");
  expect((await mesh.run("audit", "subscribe", "y", "--filter", "P0", "--out", fileOf("y"))).code).toBe(2);
  const { nkey_seed } = JSON.parse(readFileSync(fileOf("siem-1"), "utf8")) as { nkey_seed: string };
  const key = userNkeyOf(nkey_seed, "the subscription");
  const reader = await RawNats.open(mesh.busPort, key);
  for (const subject of [
    "mesh.main.event.job_ended.P2.agent.here",
    "mesh.main.job.submit.chat",
    "mesh.main.audit.query",
    "$JS.API.CONSUMER.MSG.NEXT.AUDIT.auditor",
    "$JS.API.CONSUMER.DELETE.AUDIT.siem-1",
    "$JS.API.STREAM.PURGE.AUDIT",
    "$JS.API.STREAM.MSG.GET.AUDIT",
  ])
    reader.publish(subject, "{}");
  reader.subscribe("mesh.main.event.>");
  await reader.flush();
  expect(reader.errors.filter((error) => /Permissions Violation/i.test(error))).toHaveLength(8);
  expect((await mesh.run("audit", "unsubscribe", "siem-1", "--reason", "test")).code).toBe(0);
  await waitFor(async () => expect(await refused(key)).toBe(true));
  await waitFor(async () => {
    const { out } = await mesh.run("audit", "query", "--node", "siem-1", "--type", "node_admitted", "--json");
    const states = out.split("\n").map((line) => (JSON.parse(line) as { data: { state: string } }).data.state);
    expect(states).toEqual(["joined", "revoked"]);
  });
  await reader[Symbol.asyncDispose]();
});

async function refused(key: ReturnType<typeof userNkeyOf>): Promise<boolean> {
  try {
    await using client = await RawNats.open(mesh.busPort, key);
    return client.errors.some((error) => /Authorization/i.test(error));
  } catch {
    return true;
  }
}
