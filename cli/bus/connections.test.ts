import { expect, test } from "vitest";
import type { Bus } from "../../service/bus.ts";
import { createLog } from "../../service/log.ts";
import { FakeBus } from "../../test/kit/router-parts.ts";
import { Connections } from "./connections.ts";

const KEY = "UNODE";

function watched() {
  const bus = new FakeBus();
  const connections = new Connections({
    bus: bus as unknown as Bus,
    nodeOf: (key) => (key === KEY ? "gpu-1" : undefined),
    log: createLog("test", "silent"),
  });
  connections.start();
  const said = (which: "connect" | "disconnect", id: number, client: object = { user: KEY }) =>
    bus.deliver(`mesh.main.advisory.${which}`, {
      server: { id: "S1" },
      client: { id, ...client },
      reason: "Client Closed",
    });
  const gone = () => bus.on("mesh.main.node.gone").map(({ subject, json }) => [subject, json()]);
  return { bus, said, gone, reconnect: () => bus.status("reconnect") };
}
const GONE = ["mesh.main.node.gone.gpu-1", { node_id: "gpu-1", reason: "Client Closed" }];

test("a node whose one connection is lost is gone, also when it was there before this keeper", () => {
  const known = watched();
  known.said("connect", 1);
  known.said("disconnect", 1);
  expect(known.gone()).toEqual([GONE]);
  const unknown = watched();
  unknown.said("disconnect", 1, { nkey: KEY });
  expect(unknown.gone()).toEqual([GONE]);
});

test("a node that is back by another connection before the old one is found dead is not gone", () => {
  const { said, gone } = watched();
  said("connect", 1);
  said("connect", 2);
  said("disconnect", 1);
  expect(gone()).toEqual([]);
  said("disconnect", 2);
  expect(gone()).toEqual([GONE]);
});

test("a node that moves to another server is not gone, also for a keeper that started in the middle of it", () => {
  const moving = { user: KEY, name: "tiermesh-agent-gpu-1 (moving)" };
  const late = watched();
  // Its first connection was there before.
  late.said("connect", 2, moving);
  late.said("disconnect", 2, moving);
  expect(late.gone()).toEqual([]);
  const whole = watched();
  whole.said("connect", 1);
  whole.said("connect", 2, moving);
  whole.said("disconnect", 1);
  whole.said("connect", 3);
  whole.said("disconnect", 2, moving);
  expect(whole.gone()).toEqual([]);
  whole.said("disconnect", 3);
  expect(whole.gone()).toEqual([GONE]);
});

test("a node that dies in the middle of its move is gone, once", () => {
  const moving = { user: KEY, name: "tiermesh-agent-gpu-1 (moving)" };
  const { said, gone } = watched();
  said("connect", 1);
  said("connect", 2, moving);
  said("disconnect", 1);
  expect(gone()).toEqual([]);
  said("disconnect", 2, moving);
  said("disconnect", 2, moving);
  expect(gone()).toEqual([GONE]);
});

test("whoever is no node is nobody's business, and what is no advisory is none", () => {
  const { bus, said, gone } = watched();
  said("disconnect", 1, { user: "UROUTER" });
  said("disconnect", 2, {});
  for (const body of [{}, null, new Uint8Array([0xff])])
    expect(() => bus.deliver("mesh.main.advisory.disconnect", body)).toThrow();
  expect(gone()).toEqual([]);
});

test("what a keeper that was away itself may have missed does not keep a lost node from being told", async () => {
  const { said, gone, reconnect } = watched();
  said("connect", 1);
  await reconnect();
  said("connect", 2);
  said("disconnect", 2);
  expect(gone()).toEqual([GONE]);
});
