import { expect, test } from "vitest";
import { MagicReply, MeshError } from "../../bus-schemas/index.ts";
import { createLog } from "../../service/log.ts";
import { FakeBus } from "../../test/kit/router-parts.ts";
import type { MagicTarget } from "./magic-packet.ts";
import { serveWakeNeighbour } from "./wake-neighbour.ts";

const HOME = { network: "192.168.7.0/24", address: "192.168.7.5" };
const ORDER = {
  wake_id: "wake-1",
  node_id: "desk-1",
  mac: "ac:de:48:00:11:22",
  network: HOME.network,
  address: "192.168.7.20",
};
const INBOX = "_INBOX.router.1";

function neighbour() {
  const bus = new FakeBus();
  const sent: MagicTarget[] = [];
  const rejected: string[] = [];
  const state = { nowMs: 0, failure: undefined as MeshError | undefined };
  serveWakeNeighbour({
    bus: bus as never,
    nodeId: "rack-1",
    rejections: { add: (_kind: string, error: MeshError) => void rejected.push(error.code) },
    log: createLog("test", "silent"),
    nowMs: () => state.nowMs,
    networks: () => [{ network: "10.0.0.0/8", address: "10.0.0.1" }, HOME],
    send: async (target) => {
      if (state.failure !== undefined) throw state.failure;
      sent.push(target);
      return 18;
    },
  });
  let asked = 0;
  const ask = async (order: unknown, reply = INBOX) => {
    bus.deliver("mesh.main.node.magic.rack-1", order, { reply });
    return MagicReply.parse((await bus.next(INBOX, asked++)).json());
  };
  return { ask, bus, rejected, sent, state };
}

test("a machine of its own network is sent a packet through that network", async () => {
  const { ask, sent } = neighbour();
  expect(await ask(ORDER)).toEqual({ ok: true, node_id: "rack-1", packets: 18, error: null });
  expect(sent).toEqual([{ mac: ORDER.mac, through: HOME, address: "192.168.7.20" }]);
});

test("the same wake again is answered and not sent another packet, until a minute later; the next wake of the machine is", async () => {
  const { ask, sent, state } = neighbour();
  await ask(ORDER);
  state.nowMs = 59_999;
  expect(await ask(ORDER)).toMatchObject({ ok: true, packets: 0 });
  state.nowMs = 60_000;
  expect(await ask(ORDER)).toMatchObject({ ok: true, packets: 18 });
  expect(await ask({ ...ORDER, wake_id: "wake-2" })).toMatchObject({ packets: 18 });
  expect(sent).toHaveLength(3);
});

test.each([
  ["a network that it is not in", { network: "192.168.8.0/24", address: null }, "conflict", "network"],
  ["an address outside the network", { address: "203.0.113.7" }, "bad_request", "address"],
  ["a MAC that is none", { mac: "ac:de:48" }, "bad_request", "mac"],
  ["a network that is none", { network: "192.168.7.0" }, "bad_request", "network"],
])("%s is refused by name, and nothing is sent", async (_what, change, code, field) => {
  const { ask, rejected, sent } = neighbour();
  expect(await ask({ ...ORDER, ...change })).toMatchObject({ ok: false, error: { code, field } });
  expect([sent, rejected]).toEqual([[], [code]]);
});

test("who floods it is stopped: so many wakes at once and no more", async () => {
  const { ask, sent } = neighbour();
  for (let i = 0; i < 32; i++) await ask({ ...ORDER, wake_id: `w${i}` });
  expect(await ask({ ...ORDER, wake_id: "one-more" })).toMatchObject({ error: { code: "rate_limited" } });
  expect(sent).toHaveLength(32);
});

test("a packet that could not be sent may be tried again at once", async () => {
  const { ask, state } = neighbour();
  state.failure = new MeshError("not_supported", "no magic packet could be sent from here: ENETUNREACH");
  expect(await ask(ORDER)).toMatchObject({ ok: false, error: { code: "not_supported" } });
  state.failure = undefined;
  expect(await ask(ORDER)).toMatchObject({ ok: true, packets: 18 });
});

test("an order that does not come from an inbox is not carried out", async () => {
  const { bus, rejected, sent } = neighbour();
  bus.deliver("mesh.main.node.magic.rack-1", ORDER, { reply: "mesh.main.job.submit.chat" });
  await new Promise(setImmediate);
  expect([sent, rejected, bus.sent]).toEqual([[], ["bad_request"], []]);
});
