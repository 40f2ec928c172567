import fc from "fast-check";
import { expect, test } from "vitest";
import { WAIT_MS, WaitingRoom, type Waitable } from "./room.ts";

const FREE = { lanes: new Set<string>(), queues: new Set<string>() };

function job(jobId: string, overrides: Partial<Waitable> = {}): Waitable {
  return { jobId, lane: "chat", queue: "chat", priority: 100, bytes: 10, deadlineMs: Infinity, ...overrides };
}

function takeExpired(room: WaitingRoom<Waitable>, nowMs: number) {
  const expired = room.expired(nowMs);
  for (const place of expired) expect(room.take(place.job.jobId)).toBe(place);
  return expired;
}

/** A room in which `a` has kept the lane from being empty for longer than a burst. */
function backlogged() {
  const room = new WaitingRoom<Waitable>();
  room.enter(job("a", { deadlineMs: Infinity }), 0);
  return { room, nowMs: WAIT_MS.calm + 1 };
}

test("a job that comes to an empty lane may wait two seconds, one that comes to a backlog 100 ms", () => {
  const { room, nowMs } = backlogged();
  expect(takeExpired(room, WAIT_MS.calm - 1)).toEqual([]);
  room.enter(job("b"), nowMs);
  expect(takeExpired(room, nowMs).map((place) => place.job.jobId)).toEqual(["a"]);
  expect(takeExpired(room, nowMs + WAIT_MS.backlogged - 1)).toEqual([]);
  expect(takeExpired(room, nowMs + WAIT_MS.backlogged).map((place) => place.job.jobId)).toEqual(["b"]);
  room.enter(job("c"), nowMs + 500);
  expect(takeExpired(room, nowMs + 500 + WAIT_MS.calm - 1)).toEqual([]);
});

test("the oldest goes first, the newest while the lane is overloaded", () => {
  const { room, nowMs } = backlogged();
  room.enter(job("b"), 100);
  expect(room.next(200, FREE)?.job.jobId).toBe("a");
  expect(room.next(nowMs, FREE)?.job.jobId).toBe("b");
});

test("a queue of higher priority goes first, whoever came first; what is blocked is passed over", () => {
  const room = new WaitingRoom<Waitable>();
  room.enter(job("m", { lane: "media", queue: "media", priority: 60 }), 0);
  room.enter(job("r", { lane: "rag", queue: "rag", priority: 80 }), 1);
  room.enter(job("c", { lane: "chat big" }), 2);
  room.enter(job("d", { lane: "chat" }), 3);
  expect(room.next(9, FREE)?.job.jobId).toBe("c");
  expect(room.next(9, { ...FREE, lanes: new Set(["chat big"]) })?.job.jobId).toBe("d");
  expect(room.next(9, { ...FREE, queues: new Set(["chat"]) })?.job.jobId).toBe("r");
  expect(room.next(9, { ...FREE, queues: new Set(["chat", "rag", "media"]) })).toBeUndefined();
});

test("a deadline that comes before the wait is over ends the wait", () => {
  const room = new WaitingRoom<Waitable>();
  room.enter(job("a", { deadlineMs: 50 }), 0);
  expect(takeExpired(room, 49)).toEqual([]);
  expect(takeExpired(room, 50)).toHaveLength(1);
});

test("a full room sends away the oldest of the lowest priority below the newcomer's, else the newcomer", () => {
  const room = new WaitingRoom<Waitable>({ jobs: 2, bytes: 1000 });
  room.enter(job("m1", { lane: "media", queue: "media", priority: 60 }), 0);
  room.enter(job("m2", { lane: "media", queue: "media", priority: 60 }), 1);
  expect(room.enter(job("m3", { lane: "media", queue: "media", priority: 60 }), 2)).toEqual({
    entered: false,
    sentAway: [],
  });
  const { entered, sentAway } = room.enter(job("c1"), 3);
  expect([entered, sentAway.map((place) => place.job.jobId)]).toEqual([true, ["m1"]]);
  expect(room.enter(job("huge", { bytes: 2000 }), 4).entered).toBe(false);
});

const step = fc.oneof(
  fc.record({
    kind: fc.constant("enter" as const),
    id: fc.nat(30),
    lane: fc.constantFrom("a", "b", "c"),
    bytes: fc.nat(40),
  }),
  fc.record({ kind: fc.constant("take" as const), id: fc.nat(30) }),
  fc.record({ kind: fc.constant("pass" as const), ms: fc.nat(1500) }),
);

test("whatever comes and goes: never over its bounds, counts agree, each job leaves once, nobody waits longer than 2 s", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const room = new WaitingRoom<Waitable>({ jobs: 10, bytes: 200 });
      const inside = new Map<string, number>();
      let nowMs = 0;
      const same = (found: unknown, wanted: unknown) => expect(found).toEqual(wanted);
      const left = (jobId: string) => same(inside.delete(jobId), true);
      for (const each of steps) {
        if (each.kind === "pass") {
          nowMs += each.ms;
          for (const { job: gone } of takeExpired(room, nowMs)) left(gone.jobId);
        } else if (each.kind === "take") {
          const place = room.take(`job-${each.id}`);
          same(place !== undefined, inside.has(`job-${each.id}`));
          if (place !== undefined) left(place.job.jobId);
        } else if (!inside.has(`job-${each.id}`)) {
          const priority = each.lane === "a" ? 100 : 60;
          const entering = job(`job-${each.id}`, { lane: each.lane, queue: each.lane, bytes: each.bytes, priority });
          const { entered, sentAway } = room.enter(entering, nowMs);
          for (const { job: gone } of sentAway) left(gone.jobId);
          if (entered) inside.set(entering.jobId, nowMs);
        }
        expect(room.size).toBe(inside.size);
        expect(room.size).toBeLessThanOrEqual(10);
        expect(room.bytes).toBeLessThanOrEqual(200);
        expect(room.next(nowMs, FREE) === undefined).toBe(room.size === 0);
        for (const enteredMs of inside.values()) expect(nowMs - enteredMs).toBeLessThan(WAIT_MS.calm);
      }
    }),
  );
});
