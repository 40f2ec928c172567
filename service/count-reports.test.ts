import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { EVENTS } from "../bus-schemas/index.ts";
import { FakeBus } from "../test/kit/router-parts.ts";
import type { Bus } from "./bus.ts";
import { CountReports } from "./count-reports.ts";
import { EventPublisher } from "./events.ts";
import { createLog } from "./log.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const log = createLog("test", "silent");
const node = { node_id: "n1", layer: "L1", reason: null } as const;

function reporting() {
  const bus = new FakeBus();
  const events = new EventPublisher(bus as unknown as Bus, "agent", "n1", log);
  const counts = { started: 0 };
  const reports = new CountReports(events, { counts: () => ({ ...counts }), log, everyMs: 60_000 });
  const said = () =>
    bus.on("mesh.main.event.counts_reported").map(({ json }) => EVENTS.counts_reported.data.parse(json()));
  const acknowledge = (type: string, answer: object) => {
    for (const { reply } of bus.on(`mesh.main.event.${type}`)) bus.deliver(reply ?? "", answer);
  };
  const distinct = () => [...new Map(said().map((one) => [one.report, one])).values()];
  return { events, counts, reports, said: distinct, acknowledge };
}

test("a process reports at its start, after a minute in which something changed, and at its end; an idle one says nothing", async () => {
  const { events, counts, reports, said, acknowledge } = reporting();
  expect(said()).toMatchObject([{ report: 0, events: {}, left_over: 0, counts: { started: 0 } }]);
  await vi.advanceTimersByTimeAsync(180_000);
  expect(said()).toHaveLength(1);
  counts.started = 2;
  events.record("node_left", node);
  events.record("node_left", node);
  acknowledge("node_left", { stream: "AUDIT", seq: 1 });
  await vi.advanceTimersByTimeAsync(70_000);
  expect(said().at(-1)).toMatchObject({
    report: 1,
    events: { node_left: { made: 2, stored: 2 } },
    counts: { started: 2 },
  });
  events.record("node_left", node);
  await Promise.all([reports.close(), vi.advanceTimersByTimeAsync(100)]);
  expect(said().at(-1)).toMatchObject({ report: 2, events: { node_left: { made: 3, stored: 2 } } });
  expect(new Set(said().map(({ boot_id }) => boot_id)).size).toBe(1);
});

test("an event that the stream already had does not count as stored by this process: it may be another's", async () => {
  const { events, reports, said, acknowledge } = reporting();
  events.record("node_left", node, { id: "an-id-that-two-know" });
  acknowledge("node_left", { stream: "AUDIT", seq: 1, duplicate: true });
  await Promise.all([reports.close(), vi.advanceTimersByTimeAsync(100)]);
  expect(said().at(-1)).toMatchObject({ events: { node_left: { made: 1, stored: 0 } } });
});
