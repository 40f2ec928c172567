import { expect, test } from "vitest";
import { MeshError } from "../bus-schemas/index.ts";
import { nodeRecord, routerParts } from "../test/kit/router-parts.ts";
import { Dispatcher } from "./dispatcher.ts";
import { readInputs, replayDecision } from "./policy/replay.ts";
import { Router } from "./router.ts";
import { Tickets } from "./tickets.ts";

const RUN = "mesh.main.job.run";
const SECRETS = { prompt: "the merger is on Friday", session_id: "ann@example.com", user: "ann" };

/** A router with these nodes that was handed a job. */
async function submitted(...nodeIds: string[]) {
  const kit = routerParts();
  const dispatcher = new Dispatcher(kit.parts);
  const router = new Router(kit.parts, dispatcher, new Tickets(kit.parts, dispatcher));
  dispatcher.start();
  router.start();
  kit.join(...nodeIds.map((nodeId, i) => nodeRecord(nodeId, { cost_factor: i })));
  const job = { job_id: "job-00001", security_level: "P2", ...SECRETS };
  kit.bus.deliver("mesh.main.job.submit.chat", job, { reply: "_INBOX.caller.1" });
  await kit.bus.next(RUN);
  const asked = () => kit.bus.on(RUN).map(({ subject }) => subject.split(".").at(-1) ?? "");
  return { ...kit, asked };
}

/** As it comes back from the log. */
const stored = <T>(value: T): T => JSON.parse(JSON.stringify(value)) as T;

test("the record of a decision can be made again, and holds nothing of what was said nor whose session it was", async () => {
  const { parts, events } = await submitted("n1", "n2");
  const [decided] = stored(events.of("job_decided"));
  if (decided === undefined) throw new Error("nothing was decided");
  const inputs = readInputs(decided.inputs);
  const again = replayDecision(decided.decision, inputs, parts.policy());
  expect(again).toEqual({ differences: [], whole: true, candidates: 2 });
  expect(inputs.request.session_hash).toHaveLength(8);
  expect(JSON.stringify(events.seen)).not.toMatch(/merger|ann@|"ann"/);
});

test("the decision on each next try is recorded with what it read, and can be made again", async () => {
  const { parts, bus, events, asked } = await submitted("a", "b", "c", "d");
  const error = new MeshError("all_busy", "full", { retryAfterMs: 500 }).toWire();
  const load = { slots: 2, running: 1, queued: 0, queue_limit: 2, pending_prefill_tokens: 0 };
  for (let i = 0; i < 3; i++) {
    const { reply = "" } = bus.on(RUN)[i] ?? {};
    bus.deliver(reply, { type: "refused", job_id: "job-00001", node_id: asked()[i], load, error });
  }
  const tries = stored(events.of("job_redispatched"));
  expect(tries.map(({ to_node_id }) => to_node_id)).toEqual([asked()[1], asked()[2], null]);
  const made = tries.flatMap(({ decision, inputs }) => (decision === null ? [] : [{ decision, inputs }]));
  expect(made.map(({ decision }) => decision.node_id)).toEqual(asked().slice(1));
  for (const [i, { decision, inputs: recorded }] of made.entries()) {
    const inputs = readInputs(recorded);
    expect(inputs.request.excluded_nodes).toEqual(asked().slice(0, i + 1));
    expect(replayDecision(decision, inputs, parts.policy()).differences).toEqual([]);
  }
});
