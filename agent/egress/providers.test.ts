import { chmodSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { Writable } from "node:stream";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createLog } from "../../service/log.ts";
import { OPENAI_ERRORS, OPENAI_HELLO, startProvider } from "../../test/kit/provider-servers.ts";
import { tempDir } from "../../test/kit/temp-dir.ts";
import { runtimeJob } from "../../test/kit/runtime-job.ts";
import { createEgress } from "./providers.ts";
import { prepareEgress } from "./start.ts";

const KEY = "sk-secret-key-1234567890";
const never = new AbortController().signal;
let folder: ReturnType<typeof tempDir>;
beforeEach(() => void (folder = tempDir("tiermesh-egress-")));
afterEach(() => folder.remove());
const at = (name: string) => path.join(folder.path, name);

function provider(name: string, url: string, more = "key_env: K"): string {
  return `  - {name: ${name}, kind: openai, base_url: "${url}", ${more}, models: [{upstream: ${name}-model}]}\n`;
}

/** Egress over a file of these providers; `log` holds all that was logged. */
function egress(text: string, env: Record<string, string> = { K: KEY }) {
  writeFileSync(at("p.yaml"), `providers:\n${text}`);
  const log: string[] = [];
  const sink = new Writable({
    write(part: Buffer, _encoding, done) {
      log.push(part.toString());
      done();
    },
  });
  const clock = { ms: 0 };
  const runtimes = createEgress({
    file: at("p.yaml"),
    registryPrices: {},
    env,
    log: createLog("test", "debug", sink),
    now: () => clock.ms,
    random: () => 1,
    onChange: () => undefined,
  });
  const look = async () => {
    const { runtimes: found, problems } = await runtimes.inspect(never);
    const states = [...found].map(([name, { state }]) => [name, state.record.healthy, state.record.status_reason]);
    return { found, problems, states };
  };
  const run = async (name: string) => {
    const runtime = (await look()).found.get(name)?.runtime;
    const job = runtimeJob({ model: `${name}-model` });
    for await (const _ of runtime!.run(job, never));
  };
  return { look, run, clock, log, write: (body: string) => writeFileSync(at("p.yaml"), `providers:\n${body}`) };
}

test("a new file is taken within a look: what did not change keeps its back-off, what is gone is gone", async () => {
  await using server = await startProvider(OPENAI_ERRORS.rateLimit({ "retry-after": "60" }));
  const { look, run, write } = egress(provider("a", server.url) + provider("b", server.url));
  await expect(run("a")).rejects.toMatchObject({ code: "rate_limited" });
  expect((await look()).states).toMatchObject([
    ["a", false, expect.stringContaining("HTTP 429")],
    ["b", true, null],
  ]);
  write(provider("a", server.url) + provider("c", server.url));
  expect((await look()).states).toMatchObject([
    ["a", false, expect.stringContaining("HTTP 429")],
    ["c", true, null],
  ]);
});

test("a bad new file changes nothing and says so, once; a good one after it is taken", async () => {
  const { look, write, log } = egress(provider("a", "https://a.example"));
  expect((await look()).problems).toEqual([]);
  write(provider("b", "http://b.example"));
  for (let i = 0; i < 3; i++) {
    const { states, problems } = await look();
    expect(states).toMatchObject([["a", true, null]]);
    expect(problems).toMatchObject([
      {
        endpoint: at("p.yaml"),
        problem: expect.stringMatching(/p\.yaml:2: .*https.*; the 1 provider\(s\) of before stay/),
      },
    ]);
  }
  expect(log.filter((line) => line.includes("cannot be used"))).toHaveLength(1);
  rmSync(at("p.yaml"));
  expect((await look()).states).toMatchObject([["a", true, null]]);
  write(provider("b", "https://b.example"));
  expect(await look()).toMatchObject({ states: [["b", true, null]], problems: [] });
});

test("a refused key puts its provider out until the key changes", async () => {
  await using server = await startProvider(OPENAI_ERRORS.badKey);
  writeFileSync(at("key"), `${KEY}\n`, { mode: 0o600 });
  const { look, run, clock, log } = egress(provider("a", server.url, "key_file: key"));
  await expect(run("a")).rejects.toMatchObject({ code: "runtime_failed" });
  clock.ms += 1e9;
  expect((await look()).states).toMatchObject([["a", false, expect.stringContaining("HTTP 401")]]);
  expect(server.requests[0]?.headers.authorization).toBe(`Bearer ${KEY}`);
  server.behave = OPENAI_HELLO;
  writeFileSync(at("key"), "another-key");
  expect((await look()).states).toMatchObject([["a", true, null]]);
  await run("a");
  expect(server.requests[1]?.headers.authorization).toBe("Bearer another-key");
  expect(log.join("")).not.toMatch(/sk-secret|another-key/);
});

test.each<[string, string, string | undefined, string]>([
  ["a variable that is not set", "key_env: NOT_SET", undefined, "the variable NOT_SET is empty or not set"],
  ["a key file that is not there", "key_file: nowhere", undefined, "cannot be read (ENOENT)"],
  ["an empty key file", "key_file: key", "\n", "is empty or not set"],
  ["a file with more than a key", "key_file: key", `${KEY}\nand more`, "does not hold one key"],
  ["a file that is no key at all", "key_file: key", "x".repeat(5000), "does not hold one key"],
  ["an authority that is not there", "key_env: K, ca_file: nowhere.pem", undefined, "nowhere.pem cannot be read"],
])("%s: that provider is out and says why, the others serve", async (_, more, content, reason) => {
  if (content !== undefined) writeFileSync(at("key"), content, { mode: 0o600 });
  const { look, run, log } = egress(provider("a", "https://a.example", more) + provider("b", "https://b.example"));
  expect((await look()).states).toMatchObject([
    ["a", false, expect.stringContaining(reason)],
    ["b", true, null],
  ]);
  await expect(run("a")).rejects.toMatchObject({ code: "runtime_failed" });
  expect(log.join("")).toContain(reason);
  expect(log.join("")).not.toContain(KEY);
});

test.skipIf(process.platform === "win32")("a key file that everybody can read is used, with a warning", async () => {
  writeFileSync(at("key"), KEY);
  chmodSync(at("key"), 0o644);
  const { look, log } = egress(provider("a", "https://a.example", "key_file: key"));
  expect((await look()).states).toMatchObject([["a", true, null]]);
  expect(log.join("")).toContain("can be read by every user; chmod 600 it");
});

test("the variables that hold keys are taken out of the environment that other threads and children inherit", () => {
  writeFileSync(at("p.yaml"), `providers:\n${provider("a", "https://a.example")}`);
  writeFileSync(at("r.yaml"), "models:\n  m: {layers: [L2], cost_per_1k_tokens: 3}\n  free: {layers: [L0]}\n");
  const env: NodeJS.ProcessEnv = { K: KEY, PATH: "/bin" };
  const log = createLog("test", "silent");
  const { egress: config, workEnv } = prepareEgress(at("p.yaml"), at("r.yaml"), env, log);
  expect(env).toEqual({ PATH: "/bin" });
  expect(workEnv).toEqual({ K: KEY, PATH: "/bin" });
  expect(config).toEqual({ file: at("p.yaml"), registryPrices: { m: 3 } });
  expect(prepareEgress(at("p.yaml"), at("nowhere.yaml"), env, log).egress.registryPrices).toEqual({});
  expect(() => prepareEgress(at("nowhere.yaml"), undefined, env, log)).toThrow(/cannot be read/);
});
