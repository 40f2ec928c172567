import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { unknownHardware } from "../../agent/probes/hardware.ts";
import { makeAuthority } from "../../service/certificates/index.ts";
import { tempDir } from "../../test/kit/temp-dir.ts";
import { busAuthority } from "./certificate.ts";
import { describe, hardware } from "./hardware.ts";
import { CHECKS } from "./index.ts";
import { manners } from "./manners.ts";
import { storage } from "./storage.ts";

const folder = tempDir("tiermesh-doctor-");
afterAll(() => folder.remove());

test("every check has a name of its own, and with nothing there each says so instead of throwing", async () => {
  expect(new Set(CHECKS.map(({ name }) => name)).size).toBe(CHECKS.length);
  const env = { TIERMESH_HOME: folder.path, TIERMESH_CACHE_DIR: folder.path, PATH: folder.path };
  const findings = await Promise.all(CHECKS.map(async ({ name, check }) => ({ name, ...(await check(env)) })));
  expect(findings.filter(({ says }) => says === "")).toEqual([]);
  const failed = findings.filter(({ level }) => level === "fail").map(({ name }) => name);
  expect(failed).toEqual(["bus", "router", "models", "auditor"]);
}, 20_000);

test("the authority that the bus is checked by is shown with its end and fingerprint, and named when it is no good", async () => {
  const look = (file: string) => busAuthority.check({ TIERMESH_NATS_URL: "tls://bus:4222", TIERMESH_NATS_CA: file });
  const file = join(folder.path, "ca.pem");
  expect(await look(file)).toMatchObject({ level: "fail", says: expect.stringContaining("ENOENT") });
  writeFileSync(file, "half");
  expect(await look(file)).toMatchObject({ level: "fail", says: expect.stringContaining("no readable certificate") });
  for (const [days, level] of [
    [3650, "ok"],
    [20, "warn"],
    [-1, "fail"],
  ] as const) {
    writeFileSync(file, (await makeAuthority({ name: "Ours", days })).certPem);
    expect(await look(file)).toMatchObject({
      level,
      says: expect.stringMatching(/CN=Ours until \d{4}-\d\d-\d\d, SHA-256 ([0-9A-F]{2}:){31}/),
    });
  }
});

test("what the bus loses with the power is said, and what to do; a bus elsewhere is not looked at", async () => {
  const home = join(folder.path, "storage");
  const env = { TIERMESH_HOME: home, TIERMESH_CACHE_DIR: home, PATH: home };
  expect(await storage.check(env)).toMatchObject({ level: "ok", says: expect.stringMatching(/no bus/) });
  const write = (settings: object) => {
    mkdirSync(join(home, "bus"), { recursive: true });
    writeFileSync(join(home, "bus", "bus.json"), JSON.stringify(settings));
  };
  write({ sync: "interval", encrypt: true });
  expect(await storage.check(env)).toMatchObject({
    level: "warn",
    says: expect.stringMatching(/^encrypted; .* power/),
    todo: expect.stringMatching(/--sync always/),
  });
  expect(await storage.check({ ...env, TIERMESH_NATS_URL: "nats://elsewhere:4222" })).toMatchObject({ level: "ok" });
  write({ sync: "sometimes" });
  expect(await storage.check(env)).toMatchObject({ level: "warn", says: expect.stringMatching(/sync/) });
});

test("the hardware check shows this machine as its agent will", async () => {
  const finding = await hardware.check({ TIERMESH_HOME: folder.path });
  expect(finding.says).toMatch(/\d+ cores · .*GB memory/);
}, 20_000);

test("unknown values are called unknown, and a broken probe is named with what it said", () => {
  const seen = unknownHardware({ platform: "linux", arch: "x64" });
  expect(describe({ hardware: seen, problems: [] })).toEqual({
    level: "ok",
    says: "CPU unknown · memory unknown · temperature unknown · no GPU found",
  });
  const problems = [{ probe: "nvidia", message: "nvidia-smi failed", since: "2026-11-23T10:00:00Z" }];
  expect(describe({ hardware: seen, problems })).toMatchObject({ level: "warn", todo: "nvidia: nvidia-smi failed" });
});

test("the manners check names the profile and its files, what is tried to be loosened, and the line that is wrong", async () => {
  const own = join(folder.path, "agent.yaml");
  const company = join(folder.path, "company.yaml");
  const look = () =>
    manners.check({ TIERMESH_HOME: folder.path, TIERMESH_CACHE_DIR: folder.path, TIERMESH_AGENT_POLICY: company });
  writeFileSync(company, "user_active: false\n");
  writeFileSync(own, "profile: server\nuser_active: true\n");
  expect(await look()).toMatchObject({
    level: "warn",
    says: `profile server, limits from ${own}, ${company}`,
    todo: expect.stringContaining(`${own}: user_active is looser than the company's ${company} allows`),
  });
  writeFileSync(own, "profile: server\nuser_activ: true\n");
  expect(await look()).toMatchObject({ level: "fail", says: expect.stringContaining(`${own}:2: user_activ`) });
  writeFileSync(own, "");
});
