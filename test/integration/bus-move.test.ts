import { afterAll, beforeAll, expect, test } from "vitest";
import { connectBus, type Bus } from "../../service/bus.ts";
import { createLog } from "../../service/log.ts";
import { ClusterMesh } from "../kit/cluster-mesh.ts";
import { eventually } from "../kit/mesh.ts";
import { tempDir } from "../kit/temp-dir.ts";

/** Servers that stop in order, and what is said and heard meanwhile. */

const folder = tempDir("tiermesh-move-");
const quiet = createLog("test", "silent");
let mesh: ClusterMesh;
let hearer: Bus;
let speaker: Bus;

beforeAll(async () => {
  mesh = await ClusterMesh.start({ folder: folder.path, tag: `tv${process.pid % 10_000}`, agents: 0, gateways: 0 });
  hearer = await connectBus("hearer", mesh.access("client"), quiet);
  speaker = await connectBus("speaker", mesh.access("client"), quiet);
});
afterAll(async () => {
  await hearer?.nc.close();
  await speaker?.nc.close();
  await mesh?.stop();
  await folder.remove();
});

/** The part that is the server of a connection. */
function serverOf({ nc }: Bus): string {
  const host = mesh.hosts.findIndex(({ address }) => nc.getServer().startsWith(`${address}:`));
  return `bus-${host + 1}`;
}

test.each([
  ["the hearer's", () => hearer, "in order"],
  // One who speaks by two servers in turn waits a moment in between, for order: a server that stands still for longer breaks it.
  ["the speaker's", () => speaker, "in any order"],
])("while %s server is restarted, every message is heard once", async (_whose, bus, order) => {
  const subject = `${hearer.inbox}.numbers`;
  const heard: number[] = [];
  const subscription = hearer.listen(subject, (msg) => void heard.push(Number(msg.string())));
  /** Listeners that come while it moves hear all from their first message on. */
  const late: number[][] = [];
  const join = setInterval(() => {
    const own: number[] = [];
    late.push(own);
    hearer.listen(subject, (msg) => void own.push(Number(msg.string())));
  }, 250);
  await hearer.nc.flush();
  let said = 0;
  const timer = setInterval(() => speaker.nc.publish(subject, String(said++)), 2);
  try {
    const former = serverOf(bus());
    await eventually("a steady stream", () => heard.length > 50);
    await mesh.part(former).stop();
    await eventually("to be at another server", () => serverOf(bus()) !== former && bus().connected());
    const then = said;
    await eventually("more to be heard", () => heard.length > then);
    await mesh.part(former).start();
  } finally {
    clearInterval(timer);
    clearInterval(join);
  }
  await eventually("the last one", () => heard.includes(said - 1) && heard.length >= said);
  subscription.unsubscribe();
  if (order === "in any order") heard.sort((a, b) => a - b);
  expect(heard).toEqual(Array.from({ length: said }, (_, i) => i));
  // One that came when nothing was said any more heard nothing.
  const whole = (own: number[]) => {
    const sorted = own.toSorted((a, b) => a - b);
    return sorted.every((number, i) => number === (sorted[0] ?? 0) + i);
  };
  expect(late.filter((own) => own.length > 0 && !(whole(own) && own.includes(said - 1)))).toEqual([]);
  expect(late.length).toBeGreaterThan(4);
});
