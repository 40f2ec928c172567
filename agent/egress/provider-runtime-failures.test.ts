import { afterEach, expect, test } from "vitest";
import { PROMPT, closeProviders, cloudOver, openProviders } from "../../test/kit/cloud-runtime.ts";
import {
  ANTHROPIC_ERRORS,
  OPENAI_ERRORS,
  OPENAI_HELLO,
  chunk,
  fail,
  named,
  sse,
  startProvider,
  type FakeProvider,
} from "../../test/kit/provider-servers.ts";

afterEach(closeProviders);

type Behave = FakeProvider["behave"];

test.each<[string, Behave, string, boolean, string]>([
  ["429", OPENAI_ERRORS.rateLimit(), "rate_limited", false, "HTTP 429"],
  ["429 without quota", OPENAI_ERRORS.noQuota, "runtime_failed", false, "no quota left"],
  ["402", fail(402, { error: { message: "Insufficient Balance" } }), "runtime_failed", false, "no credit left"],
  ["401", OPENAI_ERRORS.badKey, "runtime_failed", false, "does not take this node's key"],
  ["403", fail(403, { error: { message: "no" } }), "runtime_failed", false, "may not do this"],
  ["403 by a moderation", fail(403, { error: { code: 403, metadata: { reasons: ["x"] } } }), "bad_request", true, ""],
  ["404", OPENAI_ERRORS.noModel, "runtime_failed", true, "not known to the provider: up-model"],
  ["400", OPENAI_ERRORS.badRequest, "bad_request", true, ""],
  ["413", fail(413, {}), "payload_too_large", true, ""],
  ["500", OPENAI_ERRORS.server, "runtime_failed", false, "HTTP 500"],
  ["503", fail(503, {}), "all_busy", false, "overloaded"],
  ["529", ANTHROPIC_ERRORS.overloaded, "all_busy", false, "overloaded"],
  ["418", fail(418, {}), "runtime_failed", false, "HTTP 418"],
  ["a redirect", fail(307, {}, { location: "https://evil.example/" }), "runtime_failed", false, "redirect"],
  [
    "an answer that is no stream",
    fail(200, { choices: [] }),
    "runtime_failed",
    false,
    "not answer with an event stream",
  ],
  ["this mesh's own gateway", fail(200, {}, { server: "tiermesh" }), "runtime_failed", false, "own gateway"],
  ["an early close", (request) => void request.socket.destroy(), "runtime_failed", false, "ECONNRESET"],
  ["a stream that breaks off", sse(chunk({ content: "a" })), "runtime_failed", false, "broke off"],
  ["an event that is not JSON", sse(`data: {"x": ${PROMPT}\n\n`), "runtime_failed", false, "not a JSON object"],
  [
    "an error mid-stream",
    sse(chunk({ content: "a" }), chunk({}, null, { error: { message: PROMPT } })),
    "runtime_failed",
    false,
    "in the middle",
  ],
  [
    "DeepSeek out of resources",
    sse(chunk({ content: "a" }), chunk({}, "insufficient_system_resource")),
    "runtime_failed",
    false,
    "want of resources",
  ],
])(
  "%s: one clear error, and the provider's health follows its fault alone",
  async (_, behave, code, healthy, reason) => {
    const { failure, record, changes } = await cloudOver(behave);
    const error = await failure();
    expect(error.code).toBe(code);
    expect(error.retryable).toBe(code !== "bad_request" && code !== "payload_too_large");
    expect(record().healthy).toBe(healthy);
    expect(record().status_reason ?? "").toContain(reason);
    expect(changes()).toBe(1);
  },
);

test("Anthropic that becomes overloaded mid-stream is busy; a broken stream of its is a failure", async () => {
  const overloaded = await cloudOver(ANTHROPIC_ERRORS.overloadedMidStream, { kind: "anthropic" });
  expect(await overloaded.failure()).toMatchObject({ code: "all_busy" });
  expect(overloaded.record().healthy).toBe(false);
  const broken = await cloudOver(sse(named({ type: "message_start", message: {} })), { kind: "anthropic" });
  expect(await broken.failure()).toMatchObject({ code: "runtime_failed" });
});

test("a redirect is not followed: the key goes nowhere else", async () => {
  const other = await startProvider(OPENAI_HELLO);
  openProviders.push(other);
  for (const status of [301, 302, 303, 307, 308]) {
    const { failure } = await cloudOver(fail(status, {}, { location: `${other.url}/chat/completions` }));
    expect((await failure()).message).toContain("redirect");
  }
  expect(other.bytesIn()).toBe(0);
});

test.each([
  ["seconds", () => "7", 7000],
  ["an HTTP date", () => new Date(Date.now() + 60_000).toUTCString(), 60_000],
])("Retry-After in %s is passed on, kept to, and shown", async (_, text, expected) => {
  const { failure, record, clock, run, server } = await cloudOver(OPENAI_ERRORS.rateLimit({ "retry-after": text() }));
  const { retryAfterMs = 0 } = await failure();
  expect(retryAfterMs).toBeGreaterThan(expected - 3000);
  expect(retryAfterMs).toBeLessThanOrEqual(expected);
  expect(record()).toMatchObject({ healthy: false });
  expect(record().status_reason).toMatch(/HTTP 429: too many requests; asked again in \d+ s/);
  // Not asked while it rests.
  expect(await failure()).toMatchObject({ code: "runtime_failed", retryable: true });
  expect(server.requests).toHaveLength(1);
  clock.ms += expected;
  server.behave = OPENAI_HELLO;
  expect((await run()).at(-1)).toMatchObject({ type: "done" });
  expect(record().healthy).toBe(true);
});

test("after an ejection one job goes as a trial, no second one beside it, and its success opens the provider", async () => {
  const { failure, record, clock, run, server } = await cloudOver(OPENAI_ERRORS.server);
  for (let i = 0; i < 5; i++) {
    await failure();
    clock.ms += 30_000;
  }
  expect(record()).toMatchObject({ healthy: true, slots: 1 });
  let answer = () => {};
  const asked = new Promise<void>((resolve) => {
    server.behave = (...args) => {
      answer = () => OPENAI_HELLO(...args);
      resolve();
    };
  });
  const trial = run();
  await asked;
  expect(await failure()).toMatchObject({ code: "all_busy" });
  answer();
  await trial;
  expect(record()).toMatchObject({ healthy: true, slots: 8 });
});
