import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import { MeshError, RoutingConfig } from "../bus-schemas/index.ts";
import type { PolicyRevision } from "../service/policy-bucket.ts";
import { createLog } from "../service/log.ts";
import { FakeEvents } from "../test/kit/router-parts.ts";
import { PolicyKeeper } from "./policy-keeper.ts";

const FILE = "# the file\n";
const retries = (count: number) => `routing_policy: {defaults: {retry_attempts: ${count}}}\n`;

/** A bucket inside this process. */
class FakeBucket {
  revisions: PolicyRevision[] = [];
  /** Thrown by the next calls: the bus does not answer. */
  failure: Error | undefined;
  created = 1;
  /** Called before a revision is written. */
  onPut = () => {};

  write(text: string | undefined, by = "someone", note?: string): number {
    const revision = (this.revisions.at(-1)?.revision ?? 0) + 1;
    this.revisions.push({ revision, text, by, note, at: new Date(0) });
    return revision;
  }

  async state() {
    if (this.failure !== undefined) throw this.failure;
    return this.revisions.length === 0 ? undefined : `${this.created} ${this.revisions.length}`;
  }

  async *newestFirst() {
    yield* this.revisions.toReversed();
  }

  async put(text: string, { by, note, after }: { by: string; note?: string | undefined; after: number }) {
    this.onPut();
    if (this.revisions.length > after) throw new MeshError("conflict", "somebody else changed it");
    return this.write(text, by, note);
  }
}

function setup(bucket = new FakeBucket()) {
  const events = new FakeEvents();
  const lines: { level: number; msg: string }[] = [];
  const log = createLog("test", "info", { write: (line) => void lines.push(JSON.parse(line) as never) });
  const keeper = new PolicyKeeper({
    routerId: "r1",
    open: async () => bucket,
    file: { text: FILE, config: RoutingConfig.parse({}), path: "/etc/routing.yaml" },
    events: events as never,
    log,
  });
  const warnings = () => lines.filter(({ level }) => level >= 40).map(({ msg }) => msg);
  return { bucket, events, keeper, warnings };
}

test("the file fills an empty bucket and is in force as its first revision", async () => {
  const { bucket, keeper, events, warnings } = setup();
  expect(keeper.policy.revision).toMatch(/^routing\.yaml@[0-9a-f]{12}$/);
  await keeper.start();
  expect(bucket.revisions).toMatchObject([{ text: FILE, by: "r1", note: "first policy, from routing.yaml" }]);
  expect(keeper.policy.revision).toMatch(/^1@[0-9a-f]{12}$/);
  // A start is no switch; the log has the text all the same.
  const { policy_revision, previous_revision, text, text_sha256 } = events.of("policy_changed")[0] ?? {};
  expect([policy_revision, previous_revision, text]).toEqual([keeper.policy.revision, null, FILE]);
  expect(text_sha256).toBe(createHash("sha256").update(FILE).digest("hex"));
  expect([keeper.policy.textSha256, events.seen.length, warnings()]).toEqual([text_sha256, 1, []]);
});

test("of two routers that fill a bucket at once one wins, and both decide by its policy", async () => {
  const { bucket, keeper } = setup();
  bucket.onPut = () => {
    if (bucket.revisions.length === 0) bucket.write(retries(7), "r2");
  };
  await keeper.start();
  expect([bucket.revisions.length, keeper.policy.routing.defaults.retry_attempts]).toEqual([1, 7]);
});

test("a file that differs from the bus does not count, and the log says what to do", async () => {
  const { bucket, keeper, warnings } = setup();
  bucket.write(retries(5));
  await keeper.start();
  expect(keeper.policy.routing.defaults.retry_attempts).toBe(5);
  expect(warnings()).toEqual([
    "/etc/routing.yaml differs from policy revision 1 on the bus, which counts; see `tiermesh policy diff " +
      "/etc/routing.yaml`, make the file count by `tiermesh policy apply /etc/routing.yaml`",
  ]);
});

test("a new revision is taken and recorded once", async () => {
  const { bucket, keeper, events } = setup();
  await keeper.start();
  const before = keeper.policy.revision;
  bucket.write(retries(4), "ann@desk", "calmer");
  await keeper.look();
  await keeper.look();
  expect(keeper.policy.routing.defaults.retry_attempts).toBe(4);
  expect(events.of("policy_changed").slice(1)).toEqual([
    {
      policy_revision: keeper.policy.revision,
      previous_revision: before,
      by: "ann@desk",
      note: "calmer",
      text_sha256: keeper.policy.textSha256,
      text: retries(4),
    },
  ]);
});

test("revisions that are no good are told one by one, and the last good one stays, also for a router that starts now", async () => {
  const { bucket, keeper, events } = setup();
  await keeper.start();
  bucket.write(retries(3));
  await keeper.look();
  const good = keeper.policy.revision;
  bucket.write("routing_policy: [");
  bucket.write("  \n");
  await keeper.look();
  bucket.write(undefined);
  await keeper.look();
  expect(keeper.policy.revision).toBe(good);
  const rejected = events.of("policy_rejected");
  expect(rejected.map(({ kept_revision }) => kept_revision)).toEqual([good, good, good]);
  expect(rejected.map(({ reason }) => reason)).toEqual([
    expect.stringMatching(/^revision 3:\d: not YAML/),
    "it is empty",
    "the key was deleted",
  ]);
  const late = setup(bucket);
  await late.keeper.start();
  expect(late.keeper.policy.revision).toBe(good);
  expect(late.events.of("policy_rejected").length).toBe(3);
});

test("a bucket with nothing good in it leaves a router its file", async () => {
  const { bucket, keeper } = setup();
  bucket.write("nonsense: 1\n");
  await keeper.start();
  expect(keeper.policy.revision).toMatch(/^routing\.yaml@/);
  expect(bucket.revisions.length).toBe(1);
});

test("without the bus the file counts and the log says so once; when the bus is back its policy does", async () => {
  const { bucket, keeper, events, warnings } = setup();
  bucket.write(retries(6));
  bucket.failure = new Error("timeout");
  await keeper.start();
  expect(keeper.policy.revision).toMatch(/^routing\.yaml@/);
  expect(warnings()).toEqual([
    expect.stringMatching(/^the policy bucket cannot be reached; deciding by routing\.yaml@/),
  ]);
  bucket.failure = undefined;
  await keeper.look();
  expect(keeper.policy.routing.defaults.retry_attempts).toBe(6);
  const changes = events.of("policy_changed");
  expect(changes.map(({ text }) => text)).toEqual([FILE, retries(6)]);
  expect(changes.map(({ previous_revision: from }) => from?.split("@")[0] ?? null)).toEqual([null, "routing.yaml"]);
});

test("a bus that lost its bucket gets the policy back that was in force, not the file", async () => {
  const { bucket, keeper } = setup();
  bucket.write(retries(6));
  await keeper.start();
  bucket.revisions = [];
  bucket.created = 2;
  await keeper.look();
  expect(bucket.revisions).toMatchObject([{ text: retries(6), by: "r1", note: "put back after the bucket was lost" }]);
  expect(keeper.policy.routing.defaults.retry_attempts).toBe(6);
});

test("an event that cannot be recorded does not stop a switch", async () => {
  const { bucket, keeper, events, warnings } = setup();
  await keeper.start();
  events.failure = new MeshError("audit_unavailable", "the audit stream does not take events");
  bucket.write(retries(9));
  await keeper.look();
  expect(keeper.policy.routing.defaults.retry_attempts).toBe(9);
  expect(warnings()).toEqual(["an event about the policy was not recorded"]);
});

test("a text too large for one event is left out of it, and the log says so", async () => {
  const { bucket, keeper, events, warnings } = setup();
  bucket.write(`${retries(2)}# ${"x".repeat(500_000)}\n`);
  await keeper.start();
  expect(events.of("policy_changed")).toMatchObject([{ text: null, text_sha256: keeper.policy.textSha256 }]);
  expect(warnings()).toContain("the policy is too large for its event; keep its file for replays");
});
