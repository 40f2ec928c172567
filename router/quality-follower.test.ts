import { expect, test } from "vitest";
import { EVENTS, MeshError, parseQualityKey, qualityKey, type QualityEntry } from "../bus-schemas/index.ts";
import { createLog } from "../service/log.ts";
import type { QualityRevision } from "../service/quality-bucket.ts";
import { FakeEvents } from "../test/kit/router-parts.ts";
import type { Qualities } from "./policy/fleet.ts";
import { QualityFollower } from "./quality-follower.ts";

const entry = (score: number): QualityEntry => ({ score, samples: 1, updated_ms: 1_800_000_000_000, source: "ann" });
const garbage = new MeshError("bad_request", "score: too big", { field: "score" });
const QWEN = qualityKey({ model: "qwen2-7b", taskType: "chat" });

/** A bucket inside this process. */
class FakeBucket {
  revisions: QualityRevision[] = [];
  created = "then";
  last = 0;
  failure: Error | undefined;
  reads = 0;

  write(key: string, value: QualityRevision["value"], by?: string): void {
    this.revisions.push({ revision: ++this.last, key, subject: parseQualityKey(key), value, by });
  }

  async state() {
    if (this.failure !== undefined) throw this.failure;
    return this.last === 0
      ? undefined
      : { created: this.created, lastRevision: this.last, messages: this.revisions.length };
  }

  async *after(revision: number) {
    this.reads++;
    yield* this.revisions.filter((each) => each.revision > revision);
  }
}

function setup(bucket = new FakeBucket()) {
  let table: Qualities = new Map();
  const events = new FakeEvents();
  const rejected: MeshError[] = [];
  const warnings: string[] = [];
  const write = (line: string) => void warnings.push((JSON.parse(line) as { msg: string }).msg);
  const follower = new QualityFollower({
    open: async () => bucket,
    take: (qualities) => (table = qualities),
    events: events as never,
    rejections: { add: (_kind, error) => void rejected.push(error) },
    log: createLog("test", "warn", { write }),
  });
  const score = (model = "qwen2-7b", task = "chat") => table.get(task)?.get(model);
  return { bucket, follower, events: () => events.of("quality_changed"), rejected, warnings, score };
}

test("each change is on record with who made it; garbage is not; at a start what counts by then, once", async () => {
  const { bucket, follower, events } = setup();
  await follower.look();
  expect(events()).toEqual([]);
  bucket.write(QWEN, entry(0.9), "ann@ws-1");
  await follower.look();
  bucket.write(QWEN, entry(0.3), "bob@ws-2");
  bucket.write(QWEN, garbage);
  bucket.write(QWEN, null);
  await follower.look();
  await follower.look();
  const about = { task_type: "chat", model: "qwen2-7b", samples: 1, source: "ann" };
  const nothing = { ...about, samples: null, source: null, score: null, by: null };
  expect(events()).toEqual([
    {
      revision: 1,
      scores: 1,
      changes: [{ ...about, revision: 1, score: 0.9, by: "ann@ws-1" }],
      left_out: 0,
      started: false,
    },
    {
      revision: 4,
      scores: 0,
      changes: [
        { ...about, revision: 2, score: 0.3, by: "bob@ws-2" },
        { ...nothing, revision: 4 },
      ],
      left_out: 0,
      started: false,
    },
  ]);
  bucket.write(QWEN, entry(0.5), "ann@ws-1");
  for (let i = 0; i < 60; i++) bucket.write(qualityKey({ model: `m${i}`, taskType: "chat" }), entry(0.1));
  const later = setup(bucket);
  await later.follower.look();
  const [start, ...more] = later.events();
  expect(more).toEqual([]);
  expect(EVENTS.quality_changed.data.parse(start)).toMatchObject({ scores: 61, left_out: 11, started: true });
});

test("scores come, change and go with the bucket, each for its own task", async () => {
  const { bucket, follower, score } = setup();
  await follower.look();
  bucket.write(QWEN, entry(0.9));
  bucket.write(qualityKey({ model: "qwen2-7b", taskType: "rag" }), entry(0.2));
  await follower.look();
  expect([score(), score("qwen2-7b", "rag"), score("other")]).toEqual([0.9, 0.2, undefined]);
  bucket.write(QWEN, entry(0.4));
  await follower.look();
  expect(score()).toBe(0.4);
  bucket.write(QWEN, null);
  await follower.look();
  expect([score(), score("qwen2-7b", "rag")]).toEqual([undefined, 0.2]);
  const { reads } = bucket;
  await follower.look();
  expect(bucket.reads).toBe(reads);
});

test("garbage leaves the last good score, is counted and told once, and a router that starts comes to the same", async () => {
  const { bucket, follower, score, rejected, warnings } = setup();
  bucket.write(QWEN, entry(0.9));
  bucket.write(QWEN, garbage);
  bucket.write("no key of ours", garbage);
  await follower.look();
  await follower.look();
  expect([score(), rejected.length, warnings]).toEqual([
    0.9,
    2,
    ["a quality entry is no good", "a quality entry is no good"],
  ]);
  const late = setup(bucket);
  await late.follower.look();
  expect(late.score()).toBe(0.9);
  // Something is purged, so all is read again, but nothing told again.
  bucket.revisions.shift();
  await follower.look();
  expect([score(), rejected.length]).toEqual([0.9, 2]);
});

test("what is purged, or lost with its bucket, has its default again", async () => {
  const { bucket, follower, score } = setup();
  bucket.write(QWEN, entry(0.9));
  await follower.look();
  bucket.revisions = [];
  await follower.look();
  expect(score()).toBeUndefined();
  bucket.write(QWEN, entry(0.8));
  await follower.look();
  Object.assign(bucket, { last: 0, revisions: [] });
  await follower.look();
  expect(score()).toBeUndefined();
  bucket.created = "anew";
  bucket.write(QWEN, entry(0.7));
  await follower.look();
  expect(score()).toBe(0.7);
});

test("a bus that does not answer leaves the scores as they are", async () => {
  const { bucket, follower, score } = setup();
  bucket.write(QWEN, entry(0.9));
  await follower.look();
  bucket.failure = new Error("timeout");
  await expect(follower.look()).rejects.toThrow("timeout");
  expect(score()).toBe(0.9);
});

test("a bucket filled without end does not fill the router", async () => {
  const { bucket, follower, score, warnings } = setup();
  for (let i = 0; i < 10_010; i++) bucket.write(qualityKey({ model: `m${i}`, taskType: "chat" }), entry(0.5));
  await follower.look();
  expect([score("m9999"), score("m10000")]).toEqual([0.5, undefined]);
  expect(warnings.length).toBe(1);
  bucket.write(qualityKey({ model: "m0", taskType: "chat" }), entry(0.6));
  await follower.look();
  expect(score("m0")).toBe(0.6);
});
