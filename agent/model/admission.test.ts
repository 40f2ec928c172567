import { expect, test } from "vitest";
import { DATA_CLASSES, LAYERS } from "../../bus-schemas/index.ts";
import { QUEUE_PER_SLOT, refuse, totalLoad, type Ask } from "./admission.ts";

const NOW = 1_700_000_000_000;
const ask = (overrides: Partial<Ask> = {}): Ask => ({
  subjectClass: "P2",
  headerClass: "P2",
  bodyClass: undefined,
  deadlineMs: NOW + 1000,
  ...overrides,
});
const open = { layer: "L0", closedBecause: undefined } as const;
const free = { slots: 1, running: 0, queued: 0 };
const codeOf = (...args: Partial<Parameters<typeof refuse>>) =>
  refuse(args[0] ?? ask(), args[1] ?? open, 2 in args ? args[2] : free, "tiny", args[4] ?? NOW)?.code;

test("a job with a free slot, a known model and time left is taken", () => {
  expect(refuse(ask(), open, free, "tiny", NOW)).toBeUndefined();
});

test("L2 never takes P0 or P1, whichever of subject, header and body says so", () => {
  const cloud = { layer: "L2", closedBecause: undefined } as const;
  for (const subjectClass of DATA_CLASSES)
    for (const headerClass of [undefined, ...DATA_CLASSES])
      for (const bodyClass of [undefined, ...DATA_CLASSES]) {
        const refusal = codeOf(ask({ subjectClass, headerClass, bodyClass }), cloud);
        const said = [subjectClass, headerClass, bodyClass];
        // What would help: an anonymiser for P1, nothing for P0.
        const wanted = said.includes("P0") ? "forbidden" : said.includes("P1") ? "anonymiser_required" : undefined;
        expect(refusal, `${subjectClass} ${headerClass} ${bodyClass}`).toBe(wanted);
      }
});

test("a job may not be stricter than the subject it came on; a stricter subject is fine", () => {
  for (const layer of LAYERS.filter((each) => each !== "L2")) {
    const node = { layer, closedBecause: undefined };
    expect(codeOf(ask({ headerClass: "P0" }), node)).toBe("forbidden");
    expect(codeOf(ask({ bodyClass: "P1" }), node)).toBe("forbidden");
    expect(codeOf(ask({ subjectClass: "P1", headerClass: "P1", bodyClass: "P0" }), node)).toBe("forbidden");
    expect(codeOf(ask({ subjectClass: "P0", headerClass: "P2", bodyClass: "P2" }), node)).toBeUndefined();
  }
});

test("the class is checked before anything else, so that no other word of the node leaks for a job it may not see", () => {
  const closed = { layer: "L2", closedBecause: "the node is cordoned" } as const;
  expect(codeOf(ask({ subjectClass: "P0", deadlineMs: 0 }), closed, undefined)).toBe("forbidden");
});

test("a closed node says why", () => {
  const refusal = refuse(ask(), { ...open, closedBecause: "the node is cordoned: new disk" }, free, "tiny", NOW);
  expect(refusal).toMatchObject({ code: "draining", message: "the node is cordoned: new disk" });
});

test("a passed deadline, also by nothing, is refused; one millisecond is taken", () => {
  expect(codeOf(ask({ deadlineMs: NOW }))).toBe("deadline_exceeded");
  expect(codeOf(ask({ deadlineMs: NOW + 1 }))).toBeUndefined();
});

test("a model that nobody here serves is named", () => {
  const refusal = refuse(ask(), open, undefined, "big", NOW);
  expect(refusal).toMatchObject({ code: "no_node", field: "model" });
  expect(refusal?.message).toContain("big");
});

test("the line is as long as the slots allow and no longer", () => {
  expect(codeOf(ask(), open, { slots: 2, running: 2, queued: 2 * QUEUE_PER_SLOT - 1 })).toBeUndefined();
  expect(codeOf(ask(), open, { slots: 2, running: 2, queued: 2 * QUEUE_PER_SLOT })).toBe("all_busy");
  expect(codeOf(ask(), open, { slots: 0, running: 0, queued: 0 })).toBe("all_busy");
});

test("the load is the sum, within the bounds of the record", () => {
  const load = totalLoad(
    [
      { slots: 2, running: 1, queued: 0 },
      { slots: 1, running: 1, queued: 3 },
    ],
    1e12,
  );
  expect(load).toEqual({
    slots: 3,
    running: 2,
    queued: 3,
    queue_limit: 3 * QUEUE_PER_SLOT,
    pending_prefill_tokens: 100_000_000,
  });
  expect(totalLoad([], 0)).toEqual({ slots: 0, running: 0, queued: 0, queue_limit: 0, pending_prefill_tokens: 0 });
});

test("a model that has no room beside what is reserved is refused for now, after whatever else there is to say", () => {
  const tight = { ...open, noRoom: "it needs about 11 GB and 3 GB are free" };
  expect(refuse(ask(), tight, free, "tiny", NOW)).toMatchObject({
    code: "all_busy",
    message: "tiny is not loaded, and it needs about 11 GB and 3 GB are free",
  });
  expect(codeOf(ask({ deadlineMs: NOW }), tight)).toBe("deadline_exceeded");
});
