import { expect, test } from "vitest";
import { HEADERS, type Verdict } from "../../bus-schemas/index.ts";
import { agentParts } from "../../test/kit/agent-parts.ts";

const other = { inbox: "_INBOX.other.1" };

function durable() {
  const kit = agentParts();
  Object.assign(kit.bus, { inbox: "_INBOX.agent" });
  const order = (fence: number, headers: Record<string, string> = {}) =>
    kit.submit({ prompt: "x" }, { [HEADERS.fence]: String(fence), ...headers });
  const results = (inbox?: string) => kit.frames(inbox).filter(({ type }) => type === "end");
  const verdicts = () => kit.verdicts().map((verdict: Verdict) => verdict.type);
  const cancel = (fence: number) =>
    kit.bus.deliver(kit.bus.subjects.cancel("job-00000001"), { superseded: true, fence });
  return { ...kit, order, results, verdicts, cancel };
}

test("a durable run's result goes out with its fencing token, and its ending is not yet the job's", () => {
  const kit = durable();
  kit.order(7);
  kit.work.runs[0]?.say("answer");
  kit.work.runs[0]?.done();
  const [sent] = kit.bus.on("_INBOX.caller.1");
  expect(sent?.headers?.get(HEADERS.fence)).toBe("7");
  expect(sent?.reply).toBe("_INBOX.agent.parcel.job-00000001");
  expect(kit.results()).toMatchObject([{ status: "finished", message: { content: "answer" } }]);
  expect(kit.events.of("job_ended")).toEqual([]);
  expect(kit.events.of("job_run_ended")).toMatchObject([{ fence: 7, status: "finished" }]);
});

test("a run under a token that is not newer than one it has seen is refused", () => {
  const kit = durable();
  kit.order(7);
  kit.order(7);
  kit.order(6);
  expect(kit.verdicts()).toEqual(["accepted", "refused", "refused"]);
  kit.work.runs[0]?.done();
  kit.order(5);
  expect(kit.work.runs).toHaveLength(1);
  expect(kit.verdicts().at(-1)).toBe("refused");
});

test("a router with a newer token takes a run over: it goes on, and its result goes to that router only", () => {
  const kit = durable();
  kit.order(7);
  kit.order(8, { [HEADERS.reply]: other.inbox });
  expect(kit.verdicts()).toEqual(["accepted", "accepted"]);
  expect(kit.work.runs).toHaveLength(1);
  kit.work.runs[0]?.done();
  expect(kit.results()).toEqual([]);
  expect(kit.results(other.inbox)).toHaveLength(1);
  expect(kit.events.of("job_run_ended")).toMatchObject([{ fence: 8 }]);
});

test("a result that no router has taken goes to the one that takes the job over, without a second run", () => {
  const kit = durable();
  kit.order(7);
  kit.work.runs[0]?.done();
  // Nobody listens on the dead router's inbox: that is no thanks.
  kit.bus.deliver("_INBOX.agent.parcel.job-00000001", new Uint8Array(), { code: 503 });
  kit.order(8, { [HEADERS.reply]: other.inbox });
  expect(kit.results(other.inbox)).toHaveLength(1);
  expect(kit.work.runs).toHaveLength(1);
  // Thanked for, it is forgotten: a newer run is a new one.
  kit.bus.deliver("_INBOX.agent.parcel.job-00000001", { taken: true });
  kit.order(9);
  expect(kit.work.runs).toHaveLength(2);
});

test("a run is stopped by a newer token elsewhere, silently, and not by its own", () => {
  const kit = durable();
  kit.order(7);
  kit.cancel(7);
  expect(kit.work.runs[0]?.cancelled).toBe(false);
  kit.cancel(8);
  expect(kit.work.runs[0]?.cancelled).toBe(true);
  expect(kit.results()).toEqual([]);
  expect(kit.events.of("job_run_ended")).toMatchObject([{ status: "cancelled" }]);
});

test("jobs that are not durable are not touched by tokens, and a token that is no number is told", () => {
  const kit = durable();
  kit.submit();
  kit.cancel(99);
  expect(kit.work.runs[0]?.cancelled).toBe(false);
  kit.submit({ prompt: "x" }, { [HEADERS.job]: "job-00000002", [HEADERS.fence]: "one" });
  expect(kit.verdicts()).toEqual(["accepted", "refused"]);
  expect(kit.rejected.at(-1)?.error.field).toBe(HEADERS.fence);
});
