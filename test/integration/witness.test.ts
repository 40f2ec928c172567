import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { AuditEntry } from "../../bus-schemas/index.ts";
import type { EventPublisher } from "../../service/events.ts";
import { linesOf, startAuditor } from "../kit/auditor-proc.ts";
import { startTestBus, type TestBus } from "../kit/bus.ts";
import { startEventBus } from "../kit/event-bus.ts";
import { freePorts } from "../kit/process-bus.ts";
import { startProc, type Proc } from "../kit/proc.ts";
import { tempDir } from "../kit/temp-dir.ts";
import { waitFor } from "../kit/wait-for.ts";

const MAIN = path.join(import.meta.dirname, "..", "..", "cli", "main.ts");
const dir = tempDir("tiermesh-witness-");
const at = (...parts: string[]) => path.join(dir.path, ...parts);
let server: TestBus;
let events: EventPublisher;
let stop: () => Promise<void>;

beforeAll(async () => {
  ({ server, events, stop } = await startEventBus());
});
afterAll(async () => {
  await stop();
  await dir.remove();
});

/** Runs `tiermesh …` to its end. */
async function tiermesh(...args: string[]): Promise<{ code: number | null; out: string; err: string }> {
  await using proc = startProc(MAIN, { args });
  const { code } = await proc.exited;
  return { code, out: proc.lines.join("\n"), err: proc.errors.join("\n") };
}

async function startWitness(key: string, port: number): Promise<Proc> {
  const args = [
    "witness",
    "--key",
    key,
    "--log",
    at("audit", "log-key.pub"),
    "--listen",
    `127.0.0.1:${port}`,
    "--json",
  ];
  const proc = startProc(MAIN, { args });
  await proc.waitForLine(/"ready":true/, 30_000);
  return proc;
}

const record = () => events.record("node_left", { node_id: "n1", layer: "L1", reason: null }).durable;
const states = () =>
  (linesOf(at("audit")) as AuditEntry[]).filter(({ type }) => type === "witness_changed").map(({ data }) => data);

test("a witness of another department cosigns the log, is killed and comes back, and refuses a log that was written anew", async () => {
  const key = at("witness");
  expect(await tiermesh("witness", "key", key, "--name", "audit.bank.example/w1")).toMatchObject({ code: 0 });
  expect(statSync(key).mode & 0o777).toBe(0o600);
  expect((await tiermesh("witness", "key", key)).code).toBe(1);
  const vkey = readFileSync(`${key}.pub`, "utf8").trim();
  const [port = 0] = await freePorts(1);
  mkdirSync(at("audit"));
  writeFileSync(at("audit", "witnesses"), `witness bank ${vkey} http://127.0.0.1:${port}\n`);
  await using auditor = await startAuditor(server, at("audit"));
  await record();
  await waitFor(() => expect(states()).toMatchObject([{ witness: "bank", state: "behind", reason: "ECONNREFUSED" }]));

  let witness = await startWitness(key, port);
  await waitFor(() => expect(states().at(-1)).toMatchObject({ witness: "bank", state: "cosigns", reason: null }));
  const verify = (...more: string[]) =>
    tiermesh("audit", "verify", "--offline", at("audit"), "--key", at("audit", "log-key.pub"), ...more);
  await waitFor(async () =>
    expect(await verify("--witness", `${key}.pub`)).toMatchObject({
      code: 0,
      out: expect.stringContaining("1 of 1 witnesses have cosigned"),
    }),
  );
  await tiermesh("witness", "key", at("other"));
  expect(await verify("--witness", `${key}.pub`, at("other.pub"))).toMatchObject({
    code: 1,
    out: expect.stringContaining("cosigned by 1 of the 2 witnesses named, 2 are required"),
  });
  expect((await verify("--witness", `${key}.pub`, at("other.pub"), "--require", "1")).code).toBe(0);
  expect((await verify("--witness", at("audit", "log-key.pub"))).code).toBe(1);

  witness.kill("SIGKILL");
  await witness.exited;
  for (let i = 0; i < 20; i++) await record();
  await waitFor(() => expect(states().at(-1)).toMatchObject({ state: "behind" }));
  expect(await auditor.health()).toMatchObject({ ok: true, witnesses: { bank: { state: "behind" } } });
  witness = await startWitness(key, port);
  await waitFor(() => expect(states().at(-1)).toMatchObject({ state: "cosigns" }));
  auditor.kill("SIGTERM");
  await auditor.exited;

  // Whoever has the key and the disk writes another log of the same length and more.
  rmSync(at("audit", "tlog"), { recursive: true });
  const segment = at("audit", "segment-000001.jsonl");
  writeFileSync(segment, readFileSync(segment, "utf8").replace('"layer":"L1"', '"layer":"L2"'));
  await using forger = await startAuditor(server, at("audit"), { wait: false });
  await forger.waitForLine(/the signed log cannot be gone on with/, 20_000);
  forger.kill("SIGKILL");
  await forger.exited;
  // The bus has agreed on the other one; so the forger takes a bus of his own.
  await using ownBus = await startTestBus();
  cpSync(at("audit"), at("forged"), { recursive: true });
  await using free = await startAuditor(ownBus, at("forged"));
  await waitFor(async () =>
    expect(await free.health()).toMatchObject({ witnesses: { bank: { state: "refuses", cosigned_size: 0 } } }),
  );
  expect(witness.errors.join("\n")).toContain("does not go on from what it was");
  const forged = await tiermesh("audit", "verify", "--offline", at("forged"), "--witness", `${key}.pub`);
  expect(forged).toMatchObject({ code: 1, out: expect.stringContaining("cosigned by 0 of the 1 witnesses") });
  await witness[Symbol.asyncDispose]();

  rmSync(`${key}.record`, { recursive: true });
  const lost = await tiermesh("witness", "--key", key, "--log", at("audit", "log-key.pub"));
  expect(lost).toMatchObject({ code: 1, err: expect.stringContaining("without its record") });
}, 120_000);

test("a witness answers what is no request, on any path, and stays up", async () => {
  await tiermesh("witness", "key", at("w"));
  const signed = at("some.pub");
  execFileSync(process.execPath, [MAIN, "witness", "key", at("some")]);
  expect((await tiermesh("witness", "--key", at("w"), "--log", signed)).err).toContain("the key of a witness");
  expect((await tiermesh("witness", "--key", at("w"))).code).toBe(2);
  expect((await tiermesh("witness", "--log", signed)).code).toBe(2);
  const [port = 0] = await freePorts(1);
  await using witness = await startWitness(at("w"), port);
  const ask = async (method: string, place: string, body?: string) =>
    (await fetch(`http://127.0.0.1:${port}${place}`, { method, ...(body === undefined ? {} : { body }) })).status;
  expect(await ask("POST", "/add-checkpoint", "garbage")).toBe(400);
  expect(await ask("POST", "/add-checkpoint", "x".repeat(300_000))).toBe(413);
  expect(await ask("GET", "/add-checkpoint")).toBe(405);
  expect(await ask("GET", "/")).toBe(404);
  expect(await ask("GET", "/health")).toBe(200);
  const second = await tiermesh("witness", "--key", at("w"), "--log", at("audit", "log-key.pub"));
  expect(second.err).toContain(`process ${witness.pid} is this witness already`);
}, 60_000);
