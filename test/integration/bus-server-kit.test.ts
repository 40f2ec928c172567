import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { expect, test } from "vitest";
import { startTestBus, startTestCluster } from "../kit/bus.ts";
import { nextMessage } from "../kit/next-message.ts";

test("a test bus keeps its address and its data over kill and restart", async () => {
  await using bus = await startTestBus();
  const options = { servers: bus.servers, user: bus.user, pass: bus.pass };
  const nc = await connect({ ...options, reconnect: false });
  await (await jetstreamManager(nc)).streams.add({ name: "T", subjects: ["t"] });
  await jetstream(nc).publish("t", "x");
  const lost = nc.closed();
  await bus.kill();
  await lost;
  await expect(connect({ ...options, reconnect: false })).rejects.toThrow();
  await bus.restart();
  const again = await connect(options);
  expect((await (await jetstreamManager(again)).streams.info("T")).state.messages).toBe(1);
  await again.close();
});

test("two test buses do not hear each other", async () => {
  await using one = await startTestBus();
  await using two = await startTestBus();
  expect(one.url).not.toBe(two.url);
  await expect(connect({ servers: two.servers, user: one.user, pass: one.pass, reconnect: false })).rejects.toThrow();
});

test("the next message is the first that fits, and a wait in vain says what it saw", async () => {
  await using bus = await startTestBus();
  const nc = await connect({ servers: bus.servers, user: bus.user, pass: bus.pass });
  const wanted = nextMessage(nc.subscribe("n.>"), (message) => message.string() === "2");
  for (const text of ["1", "2", "3"]) nc.publish("n.a", text);
  expect((await wanted).string()).toBe("2");
  const vain = nextMessage(nc.subscribe("n.>"), (message) => message.string() === "9", 200);
  nc.publish("n.b", "1");
  await expect(vain).rejects.toThrow("no such message on n.> within 200 ms; 1 others were passed over");
  await nc.close();
});

test("a cluster of three keeps a replicated stream when one server is killed, and takes it back", async () => {
  await using cluster = await startTestCluster(3);
  expect(cluster.servers).toHaveLength(3);
  const nc = await connect({ servers: cluster.servers, user: cluster.user, pass: cluster.pass, reconnectTimeWait: 50 });
  const manager = await jetstreamManager(nc);
  const { cluster: placed } = await manager.streams.add({ name: "R3", subjects: ["r"], num_replicas: 3 });
  expect(placed?.replicas).toHaveLength(2);
  await jetstream(nc).publish("r", "one");
  // a follower, so that the stream needs no election for the next message
  const follower = Number(placed?.replicas?.[0]?.name.slice(1)) - 1;
  const victim = cluster.nodes[follower];
  await victim?.kill();
  // Our own connection may have been to the victim, and a request that is under way then is lost: ask again, by its id.
  const second = () => jetstream(nc).publish("r", "two", { msgID: "two", timeout: 1000 });
  await expect.poll(() => second().catch(() => undefined), { timeout: 20_000 }).toMatchObject({ seq: 2 });
  await victim?.restart();
  const back = await connect({ servers: victim?.servers ?? [], user: cluster.user, pass: cluster.pass });
  await expect
    .poll(async () => (await manager.streams.info("R3")).cluster?.replicas?.every((replica) => replica.current), {
      timeout: 20_000,
    })
    .toBe(true);
  await Promise.all([back.close(), nc.close()]);
});
