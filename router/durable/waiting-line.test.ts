import { expect, onTestFinished, test, vi } from "vitest";
import { durableParts } from "../../test/kit/durable-parts.ts";
import { nodeRecord } from "../../test/kit/router-parts.ts";
import type { Claim } from "./claim.ts";
import type { RouteRequest } from "../policy/types.ts";
import { WaitingLine, type Next } from "./waiting-line.ts";

const FULL = { load: { slots: 1, running: 1, queued: 9, queue_limit: 4 } };

async function waiting() {
  const kit = await durableParts();
  kit.join(nodeRecord("n1", FULL));
  const placed: string[] = [];
  const wait = (queue: string, seq: number) => {
    const { claim } = kit;
    const held = { ...claim.held, record: { ...claim.held.record, queue } };
    const msg = { ...claim.msg, seq } as Claim["msg"];
    const one: Claim = { ...claim, queue, held, msg, gone: Promise.withResolvers() };
    const next = kit.line.wait(one).then((result: Next) => {
      placed.push(`${queue} ${seq} ${result.to}`);
      return result;
    });
    return { claim: one, next };
  };
  return { ...kit, placed, wait };
}

test("the queue of the higher priority goes first, and within a queue the older job", async () => {
  const kit = await waiting();
  const all = [kit.wait("media", 1), kit.wait("rag", 7), kit.wait("rag", 3)];
  kit.line.tick();
  expect(kit.placed).toEqual([]);
  kit.join(nodeRecord("n1", { seq: 1, load: { slots: 8, running: 0, queued: 0, queue_limit: 4 } }));
  kit.line.tick();
  await Promise.all(all.map(({ next }) => next));
  expect(kit.placed).toEqual(["rag 3 node", "rag 7 node", "media 1 node"]);
});

test("what is somebody else's now, or waits when the router stops, leaves the line", async () => {
  const kit = await waiting();
  const [gone, left] = [kit.wait("rag", 1), kit.wait("rag", 2)];
  gone.claim.gone.resolve();
  expect(await gone.next).toEqual({ to: "nobody" });
  kit.line.stop();
  expect(await left.next).toEqual({ to: "nobody" });
  expect(await kit.wait("rag", 3).next).toEqual({ to: "nobody" });
  expect(kit.line.size).toBe(0);
});

test("a job whose class must be sealed by now is dead: it lies here in clear", async () => {
  const kit = await durableParts({ security_level: "P0" });
  kit.join(nodeRecord("n1"));
  expect(kit.line.now(kit.claim)).toMatchObject({ to: "dead", error: { code: "encryption_required" } });
});

test("a job that has waited for two seconds has a machine woken that sleeps, once in two seconds", async () => {
  vi.useFakeTimers({ toFake: ["Date"] });
  onTestFinished(() => void vi.useRealTimers());
  const { claim, parts } = await waiting();
  const asked: string[] = [];
  const help = (request: RouteRequest) => void asked.push(request.jobId);
  const line = new WaitingLine({ ...parts, wakes: { help: help as never } });
  void line.wait(claim);
  for (const passedMs of [0, 2000, 1, 1000, 1001, 100]) {
    vi.setSystemTime(Date.now() + passedMs);
    line.tick();
  }
  expect(asked).toEqual([claim.jobId, claim.jobId]);
  line.stop();
});
