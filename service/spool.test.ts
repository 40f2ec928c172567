import fs from "node:fs";
import path from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { tempDir, type TempDir } from "../test/kit/temp-dir.ts";
import { createLog } from "./log.ts";
import { Spool } from "./spool.ts";

const log = createLog("test", "silent");
let home: TempDir;

beforeEach(() => void (home = tempDir()));
afterEach(async () => {
  vi.restoreAllMocks();
  await home.remove();
});

const open = (name = "router") => Spool.open(home.path, name, log);
const folder = (name = "router") => path.join(home.path, name);
const segments = (name?: string) => fs.readdirSync(folder(name)).filter((file) => file.endsWith(".spool"));
const written = () => segments().map((file) => fs.readFileSync(path.join(folder(), file), "utf8"));
/** The end of the turn of the event loop, when what was put is written. */
const turn = () => Promise.resolve();

/** What `kill -9` leaves: the files as they are, and a lock whose process is gone. */
function die(spool: Spool, name?: string): void {
  expect(spool).toBeInstanceOf(Spool);
  fs.writeFileSync(path.join(folder(name), "lock"), JSON.stringify({ pid: 2 ** 22 + 1, token: "1" }));
}

test("what was put in one turn is on disk at its end, in one write", async () => {
  const spool = await open();
  const write = vi.spyOn(fs, "writeFileSync");
  for (let i = 0; i < 100; i++) spool.put(`id${i}`, `line ${i}`);
  await turn();
  expect(write).toHaveBeenCalledTimes(1);
  expect(written()[0]?.split("\n").slice(0, 2)).toEqual(["+id0 line 0", "+id1 line 1"]);
  await spool.close();
});

test("after a death the next one has what was not settled, in its order, and nothing else", async () => {
  const spool = await open();
  for (let i = 0; i < 5; i++) spool.put(`id${i}`, `line ${i}`);
  spool.settle("id1");
  spool.settle("id3");
  spool.settle("never put");
  spool.put("id5", "line 5");
  await turn();
  die(spool);
  const next = await open();
  expect(next.leftovers).toEqual([0, 2, 4, 5].map((i) => ({ id: `id${i}`, line: `line ${i}` })));
  expect(next.waitingCount).toBe(4);
  for (const { id } of next.leftovers) next.settle(id);
  await next.close();
  expect((await open()).leftovers).toEqual([]);
});

test("leftovers of a process that died again before it settled them are there still", async () => {
  const first = await open();
  first.put("a", "1");
  await turn();
  die(first);
  die(await open());
  expect((await open()).leftovers).toEqual([{ id: "a", line: "1" }]);
});

test("a line that was cut off by the crash, and garbage, are left out and hurt nothing", async () => {
  const spool = await open();
  spool.put("a", "1");
  await turn();
  const file = path.join(folder(), segments()[0] ?? "");
  fs.appendFileSync(file, "garbage\n+\n-\n+b 2\n+c cut off he");
  die(spool);
  expect((await open()).leftovers.map(({ id }) => id)).toEqual(["a", "b"]);
});

test("segments go when everything in them is settled, oldest first, and an idle spool is small", async () => {
  const spool = await open();
  const line = "x".repeat(1024 * 1024);
  for (let i = 0; i < 12; i++) spool.put(`id${i}`, line);
  await turn();
  expect(segments().length).toBeGreaterThan(2);
  for (let i = 11; i > 0; i--) spool.settle(`id${i}`);
  expect(segments().length).toBeGreaterThan(2);
  spool.settle("id0");
  expect(segments()).toHaveLength(1);
  await spool.close();
  expect(segments()).toEqual([]);
});

test("settled marks survive the crash also when their lines are in an older segment", async () => {
  const spool = await open();
  const line = "x".repeat(3 * 1024 * 1024);
  for (const id of ["a", "b", "c"]) spool.put(id, line);
  spool.settle("b");
  spool.put("d", "small");
  await turn();
  die(spool);
  expect((await open()).leftovers.map(({ id }) => id)).toEqual(["a", "c", "d"]);
});

test("a second process of the same name has a spool of its own; when both died one next takes over from both", async () => {
  const one = await open();
  const two = await open();
  one.put("a", "1");
  two.put("b", "2");
  await turn();
  expect(fs.readdirSync(home.path).toSorted()).toEqual(["router", "router.2"]);
  die(one);
  die(two, "router.2");
  const next = await open();
  expect(next.leftovers.map(({ id }) => id).toSorted()).toEqual(["a", "b"]);
  die(next);
  expect((await open()).leftovers).toHaveLength(2);
  expect(segments("router.2")).toEqual([]);
});

test("an orderly stop leaves what waits to the next process", async () => {
  const spool = await open();
  spool.put("a", "1");
  await spool.close();
  expect((await open()).leftovers).toEqual([{ id: "a", line: "1" }]);
});

test("a full disk is said once and shows; when it takes lines again, those are whole", async () => {
  const error = vi.spyOn(log, "error");
  const spool = await open();
  const write = vi.spyOn(fs, "writeFileSync").mockImplementation((file) => {
    fs.writeSync(file as number, "+half a li");
    throw Object.assign(new Error("no space left on device"), { code: "ENOSPC" });
  });
  spool.put("a", "1");
  await turn();
  spool.put("b", "2");
  await turn();
  expect([spool.broken, error.mock.calls.length]).toEqual([true, 1]);
  write.mockRestore();
  spool.put("c", "3");
  await turn();
  expect(spool.broken).toBe(false);
  die(spool);
  expect((await open()).leftovers).toContainEqual({ id: "c", line: "3" });
});
