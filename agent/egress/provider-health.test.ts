import { expect, test } from "vitest";
import { ProviderHealth } from "./provider-health.ts";

/** A breaker on a clock of its own; random 1 gives the whole back-off. */
function health(random = 1) {
  const clock = { ms: 0 };
  const breaker = new ProviderHealth(
    () => clock.ms,
    () => random,
  );
  const fail = (retryAfterMs?: number, blame: "busy" | "down" = "down") =>
    breaker.begin("m").failed(blame, "HTTP 500", retryAfterMs);
  const ok = () => breaker.begin("m").succeeded();
  const wait = () => breaker.availability.waitMs;
  return { clock, breaker, fail, ok, wait };
}

test("a failure rests the provider for one second, doubling with each in a row, and a success starts over", () => {
  const { clock, breaker, fail, ok, wait } = health();
  for (const ms of [1000, 2000, 4000, 8000]) {
    fail();
    expect(wait()).toBe(ms);
    expect(breaker.availability).toMatchObject({ healthy: false, trial: false });
    clock.ms += ms;
    expect(breaker.availability).toEqual({ healthy: true, reason: null, waitMs: undefined, trial: false });
  }
  ok();
  fail();
  expect(wait()).toBe(1000);
});

test("jitter takes up to half of it off", () => {
  const { fail, wait } = health(0);
  fail();
  expect(wait()).toBe(500);
});

test("the reason says what happened and when it is asked again", () => {
  const { clock, breaker, fail } = health();
  fail(12_000);
  clock.ms += 500;
  expect(breaker.availability.reason).toBe("HTTP 500; asked again in 12 s");
});

test("Retry-After is kept to, shorter or longer than the own back-off, but never at once", () => {
  const { clock, fail, wait } = health();
  fail(60_000, "busy");
  expect(wait()).toBe(60_000);
  clock.ms += 60_000;
  for (const [asked, rest] of [
    [1500, 1500],
    [0, 1000],
  ]) {
    fail(asked, "busy");
    expect(wait()).toBe(rest);
    clock.ms += rest ?? 0;
  }
});

test("five failures in a row put it out for 30 s; then one trial; each failed trial doubles it up to 5 min", () => {
  const { clock, breaker, fail, wait } = health();
  for (let i = 0; i < 5; i++) {
    clock.ms += wait() ?? 0;
    fail();
  }
  for (const ms of [30_000, 60_000, 120_000, 240_000, 300_000, 300_000]) {
    expect(wait()).toBe(ms);
    clock.ms += ms;
    expect(breaker.availability).toMatchObject({ healthy: true, trial: true });
    fail();
  }
  clock.ms += 300_000;
  const trial = breaker.begin("m");
  expect(breaker.trialRuns).toBe(true);
  trial.succeeded();
  expect(breaker.trialRuns).toBe(false);
  expect(breaker.availability).toMatchObject({ healthy: true, trial: false });
  fail();
  expect(wait()).toBe(1000);
});

test("a trial that its caller cancels tells nothing: the next job is the trial", () => {
  const { clock, breaker, fail, wait } = health();
  for (let i = 0; i < 5; i++) {
    clock.ms += wait() ?? 0;
    fail();
  }
  clock.ms += 30_000;
  breaker.begin("m").left();
  expect(breaker.trialRuns).toBe(false);
  expect(breaker.availability.trial).toBe(true);
});

test("many calls that fail together are one failure", () => {
  const { breaker, wait } = health();
  const calls = Array.from({ length: 8 }, () => breaker.begin("m"));
  for (const call of calls) call.failed("down", "HTTP 500", undefined);
  expect(wait()).toBe(1000);
  expect(breaker.availability.trial).toBe(false);
});

test("a call from before the failure cannot end the rest, nor start the count over", () => {
  const { clock, breaker, fail, wait } = health();
  const old = breaker.begin("m");
  for (let i = 0; i < 4; i++) {
    clock.ms += wait() ?? 0;
    fail();
  }
  old.succeeded();
  expect(breaker.availability.healthy).toBe(false);
  clock.ms += wait() ?? 0;
  fail();
  expect(wait()).toBe(30_000);
});

test("a server that says when to come back is never put out", () => {
  const { clock, breaker, fail } = health();
  for (let i = 0; i < 20; i++) {
    fail(1000, "busy");
    clock.ms += 1000;
    expect(breaker.availability).toMatchObject({ healthy: true, trial: false });
  }
});

test("what callers did wrong never rests it, and counts as an answer", () => {
  const { clock, breaker, fail, wait } = health();
  for (let i = 0; i < 4; i++) {
    fail();
    clock.ms += wait() ?? 0;
  }
  for (let i = 0; i < 10; i++) breaker.begin("m").failed("caller", "HTTP 400", undefined);
  expect(breaker.availability.healthy).toBe(true);
  fail();
  expect(wait()).toBe(1000);
});

test("a refused key puts it out for good; an account without credit rests; a model that is not there rests alone", () => {
  const key = health();
  key.breaker.begin("m").failed("key", "HTTP 401", undefined);
  key.clock.ms += 1e9;
  expect(key.breaker.availability).toEqual({ healthy: false, reason: "HTTP 401", waitMs: undefined, trial: false });
  const quota = health();
  quota.breaker.begin("m").failed("quota", "HTTP 402", undefined);
  expect(quota.wait()).toBe(300_000);
  const model = health();
  model.breaker.begin("m").failed("model", "HTTP 404", undefined);
  expect(model.breaker.availability.healthy).toBe(true);
  expect([model.breaker.offers("m"), model.breaker.offers("n")]).toEqual([false, true]);
  model.clock.ms += 300_000;
  expect(model.breaker.offers("m")).toBe(true);
});

test("without a key it is out from the start", () => {
  const breaker = new ProviderHealth(
    () => 0,
    () => 0,
    "no key",
  );
  expect(breaker.availability).toMatchObject({ healthy: false, reason: "no key" });
});
