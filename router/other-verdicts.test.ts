import { expect, test } from "vitest";
import { MeshError } from "../bus-schemas/index.ts";
import { nodeRecord, routerParts } from "../test/kit/router-parts.ts";
import { Dispatcher } from "./dispatcher.ts";

const LOAD = { slots: 2, running: 1, queued: 0, queue_limit: 2, pending_prefill_tokens: 0 };
const BUSY = new MeshError("all_busy", "full", { retryAfterMs: 500 }).toWire();

test("of a verdict to another router the load is taken, and nothing else", async () => {
  const { parts, bus, fleet, rejected, join } = routerParts();
  const dispatcher = new Dispatcher(parts);
  dispatcher.start();
  join(nodeRecord("a"));
  const other = "mesh.main.job.verdict.router-2.a.7";
  const common = { job_id: "job-00001", node_id: "a", load: { ...LOAD, running: 2, queued: 1 } };
  bus.deliver(other, { type: "refused", ...common, error: BUSY });
  expect(fleet.fleet.view("a")?.record.load).toMatchObject({ running: 2, queued: 1 });
  bus.deliver(other, { type: "ended", ...common, status: "failed", timing: null, load: LOAD });
  expect(fleet.fleet.view("a")?.record.load).toMatchObject({ running: 1, queued: 0 });
  expect(fleet.fleet.view("a")).toMatchObject({ correction: 1, ownInFlight: 0, gone: false });
  // The broker's 503, a stranger's node, half a verdict: its own router's to judge.
  bus.deliver(other, undefined, { code: 503 });
  bus.deliver(other, { type: "accepted", ...common, node_id: "stranger" });
  bus.deliver(other, { type: "accepted" });
  expect(dispatcher.inFlight).toEqual({ waiting: 0, running: 0 });
  expect([bus.sent, rejected]).toEqual([[], []]);
  expect([fleet.fleet.size, fleet.fleet.view("a")?.gone]).toEqual([1, false]);
});

test("an ending to this router is confirmed, also of a job that it does not know any more; one to another router is not", () => {
  const { parts, bus, join } = routerParts();
  new Dispatcher(parts).start();
  join(nodeRecord("a"));
  const ended = { type: "ended", job_id: "job-00001", node_id: "a", load: LOAD, status: "finished", timing: null };
  bus.deliver("mesh.main.job.verdict.router-1.a.7", ended, { reply: "_INBOX.agent.ended.0" });
  bus.deliver("mesh.main.job.verdict.router-2.a.7", ended, { reply: "_INBOX.agent.ended.1" });
  expect(bus.sent.map(({ subject, json }) => [subject, json()])).toEqual([
    ["_INBOX.agent.ended.0", { heard: true, take: false }],
  ]);
});
