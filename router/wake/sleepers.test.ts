import { expect, test } from "vitest";
import { createLog } from "../../service/log.ts";
import { nodeRecord, routerParts } from "../../test/kit/router-parts.ts";
import { CARD, FakeSleepBucket } from "../../test/kit/sleep-parts.ts";
import { fellAsleep, wokeUp } from "./entry.ts";
import { Sleepers } from "./sleepers.ts";

const record = (nodeId: string) => nodeRecord(nodeId, { status: "suspended", sleep: CARD });
const log = createLog("test", "silent");

/** One router's look at a bucket of several. */
async function router(bucket: FakeSleepBucket) {
  const kit = routerParts();
  const sleepers = new Sleepers({ open: async () => bucket.open(), fleet: kit.fleet, log });
  await sleepers.look();
  return { ...kit, sleepers };
}

test("changes of several routers are made one on top of the other, and each sees what it made of what", async () => {
  const bucket = new FakeSleepBucket();
  const [one, two] = [await router(bucket), await router(bucket)];
  const nowMs = Date.now();
  await one.sleepers.change("n1", (entry) => fellAsleep(entry, record("n1"), nowMs));
  const changed = await two.sleepers.change("n1", (entry) => ({ ...entry, failures: entry.failures + 1 }));
  expect(changed).toMatchObject({ before: { failures: 0, asleep: { node_id: "n1" } }, after: { failures: 1 } });
  const asked: number[] = [];
  const nothing = await one.sleepers.change("n1", (entry) => {
    asked.push(entry.failures);
    return entry.failures === 1 ? undefined : entry;
  });
  // What it held was old: it was asked again, of what is there now.
  expect([nothing, asked, one.sleepers.find("n1")?.failures]).toEqual([undefined, [0, 1], 1]);
});

test("machines that sleep since before are known to the fleet, gone; one that was heard meanwhile is as it said", async () => {
  const bucket = new FakeSleepBucket();
  const former = await router(bucket);
  for (const id of ["n1", "n2"])
    await former.sleepers.change(id, (entry) => fellAsleep(entry, record(id), Date.now() - 3_600_000));
  const old = Date.now() - 15 * 86_400_000;
  await former.sleepers.change("n3", (entry) => fellAsleep(entry, record("n3"), old));
  const { fleet, join, sleepers } = await router(new FakeSleepBucket());
  join(nodeRecord("n2"));
  const later = new Sleepers({ open: async () => bucket.open(), fleet, log });
  await later.look();
  expect(fleet.fleet.view("n1")).toMatchObject({ gone: true, record: { sleep: CARD } });
  expect(fleet.fleet.view("n2")).toMatchObject({ gone: false, record: { status: "healthy" } });
  expect(fleet.fleet.view("n3")).toBeUndefined();
  expect(sleepers.entries).toEqual([]);
});

test("before the bucket was reached nothing is written; what never stops changing is given up", async () => {
  const { fleet } = routerParts();
  const bucket = new FakeSleepBucket();
  const blind = new Sleepers({ open: async () => bucket.open(), fleet, log });
  await expect(blind.change("n1", (entry) => entry)).rejects.toMatchObject({ code: "bus_unavailable" });
  const [one, two] = [await router(bucket), await router(bucket)];
  const racing = one.sleepers.change("n1", (entry) => {
    // Somebody is always quicker.
    void two.sleepers.change("n1", (now) => wokeUp(now, Date.now()));
    return { ...entry, failures: entry.failures + 1 };
  });
  await expect(racing).rejects.toMatchObject({ code: "conflict" });
});
