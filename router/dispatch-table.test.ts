import fc from "fast-check";
import { expect, test } from "vitest";
import { DispatchTable, type Dispatch } from "./dispatch-table.ts";

const dispatch = (jobId: string, sentAtMs = 0, nodeId = "n1") =>
  ({ jobId, sentAtMs, nodeId, request: { taskType: "chat" } }) as Dispatch;

test("a dispatch waits, runs and is gone; its token finds it until then", () => {
  const table = new DispatchTable();
  const job = dispatch("job-00001");
  const token = table.add(job);
  expect([table.waiting(token), table.find(token), table.findJob("job-00001")]).toEqual([job, job, job]);
  expect(table.markRunning(token)).toBe(job);
  expect(table.waiting(token)).toBeUndefined();
  expect(table.markRunning(token)).toBeUndefined();
  expect([table.waitingCount, table.runningCount]).toEqual([0, 1]);
  expect(table.remove(token)).toBe(job);
  expect([table.remove(token), table.find(token), table.findJob("job-00001")]).toEqual([
    undefined,
    undefined,
    undefined,
  ]);
});

test("the end of an older try leaves the newer one of the same job findable", () => {
  const table = new DispatchTable();
  const old = table.add(dispatch("job-00001"));
  const again = dispatch("job-00001");
  table.add(again);
  table.remove(old);
  expect(table.findJob("job-00001")).toBe(again);
});

test("only what waits longer than allowed is silent", () => {
  const table = new DispatchTable();
  const tokens = [10, 20, 30].map((at) => table.add(dispatch(`job-000${at}`, at)));
  table.markRunning(tokens[0] ?? "");
  expect(table.takeSilent(30).map(({ jobId }) => jobId)).toEqual(["job-00020"]);
  expect([table.waitingCount, table.runningCount]).toEqual([1, 1]);
});

test("the running jobs of one node are taken out, and no others", () => {
  const table = new DispatchTable();
  const [a, b] = ["a", "b", "a"].map((node, i) => table.add(dispatch(`job-0000${i}`, 0, node)));
  table.markRunning(a ?? "");
  table.markRunning(b ?? "");
  expect(table.takeRunning(({ nodeId }) => nodeId === "a").map(({ jobId }) => jobId)).toEqual(["job-00000"]);
  expect([table.waitingCount, table.runningCount]).toEqual([1, 1]);
});

test("no token is given twice, and whatever happens each dispatch is taken out once", () => {
  fc.assert(
    fc.property(fc.array(fc.constantFrom("add", "run", "remove", "silent", "lost")), (steps) => {
      const table = new DispatchTable();
      const tokens: string[] = [];
      let taken = 0;
      for (const [i, step] of steps.entries()) {
        const token = tokens[i % Math.max(tokens.length, 1)] ?? "none";
        if (step === "add") tokens.push(table.add(dispatch(`job-0000${i % 3}`, i)));
        else if (step === "run") table.markRunning(token);
        else if (step === "remove") taken += table.remove(token) === undefined ? 0 : 1;
        else if (step === "silent") taken += table.takeSilent(i - 2).length;
        else taken += table.takeRunning(() => true).length;
      }
      expect(new Set(tokens).size).toBe(tokens.length);
      expect(table.waitingCount + table.runningCount + taken).toBe(tokens.length);
    }),
  );
});

test("a job is on the way to its node until that says something of it, and counts for its queue until it is gone", () => {
  const table = new DispatchTable();
  const [a, b, c] = ["job-a", "job-b", "job-c"].map((id) => table.add(dispatch(id)));
  expect([table.onTheWay("n1"), table.countOf("chat")]).toEqual([3, 3]);
  table.answered(a ?? "");
  table.answered(a ?? "");
  table.markRunning(a ?? "");
  expect([table.onTheWay("n1"), table.countOf("chat")]).toEqual([2, 3]);
  table.remove(b ?? "");
  table.takeJob("job-c");
  table.answered(c ?? "");
  expect([table.onTheWay("n1"), table.countOf("chat")]).toEqual([0, 1]);
});

test("a silent dispatch is given up but counts for its queue until it is known to be over", () => {
  const table = new DispatchTable();
  const token = table.add(dispatch("job-a", 0));
  table.add(dispatch("job-b", 0));
  expect(table.takeSilent(1)).toHaveLength(2);
  expect([table.find(token), table.onTheWay("n1"), table.countOf("chat")]).toEqual([undefined, 0, 2]);
  table.dropAbandoned((_, each) => each === token);
  table.dropAbandoned((_, each) => each === token);
  expect(table.countOf("chat")).toBe(1);
  table.dropAbandoned(({ nodeId }) => nodeId === "n1");
  expect(table.countOf("chat")).toBe(0);
});

test("what is given out and not used holds its place for a while, not until it is taken back", () => {
  const table = new DispatchTable();
  const used = table.add(dispatch("job-a", 0));
  const unused = table.add(dispatch("job-b", 0));
  table.holdNoLonger(0);
  expect(table.countOf("chat")).toBe(2);
  table.holdNoLonger(1);
  table.holdNoLonger(1);
  expect([table.countOf("chat"), table.waitingCount]).toEqual([0, 2]);
  table.markRunning(used);
  expect(table.countOf("chat")).toBe(1);
  expect(table.takeUnused(1).map(({ jobId }) => jobId)).toEqual(["job-b"]);
  expect([table.find(unused), table.countOf("chat")]).toEqual([undefined, 1]);
  table.remove(used);
  expect(table.countOf("chat")).toBe(0);
});
