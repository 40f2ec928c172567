import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { Hardware, RuntimeRecord, type Gpu } from "../../bus-schemas/index.ts";
import { createLog } from "../../service/log.ts";
import { tempDir } from "../../test/kit/temp-dir.ts";
import type { GpuFault } from "../probes/gpu-fault.ts";
import { GpuHealth, type GpuNews } from "./gpu-health.ts";
import { sickGpuOf } from "./runtime-gpus.ts";
import { SickFile } from "./sick-file.ts";
import { xidVerdict } from "./xid-verdict.ts";

const root = tempDir("tiermesh-gpu-health-");
afterAll(() => root.remove());
let count = 0;

const card = (i: number) => ({
  name: "H200",
  index: i,
  uuid: `GPU-${i}`,
  pci_address: `0000:0${i}:00.0`,
  vendor: "nvidia",
});
const xid = (id: string, i: number, number: number): GpuFault => ({
  id,
  xid: number,
  uuid: null,
  pci_address: `0000:0${i}:00.0`,
});

function machine({ file = join(root.path, `sick-${count++}.json`), bootId = "boot-1" } = {}) {
  const news: GpuNews[] = [];
  let nowMs = 0;
  const health = new GpuHealth({
    file: new SickFile(file, (error) => expect(error).toBeUndefined(), bootId),
    onNews: (one) => news.push(one),
    log: createLog("test", "silent"),
    nowMs: () => nowMs,
  });
  let hardware = Hardware.parse({});
  /** The probes have looked: these cards are there, and so much time has gone by since the last look. */
  const sees = (
    cards: number[],
    { faults = [] as GpuFault[], afterMs = 2000, complete = true, blind = false, stale = false } = {},
  ) => {
    nowMs += afterMs;
    const sampled_at = stale ? "2026-01-01T00:00:00.000Z" : new Date(1_767_225_600_000 + nowMs).toISOString();
    hardware = Hardware.parse({
      gpus: cards.map((i) => ({ ...card(i), vram_total_gb: 140, vram_free_gb: 100, sampled_at })),
    });
    health.look({ hardware, faults, complete, blind });
    return health.marked(hardware).gpus;
  };
  const said = () =>
    news
      .splice(0)
      .map(
        (one) => `${one.gpu.index} ${one.type}${one.type === "sick" ? ` ${one.cause}: ${one.reason}` : ` ${one.by}`}`,
      );
  return { health, sees, said, file };
}

const marks = (gpus: readonly Gpu[]) => gpus.map(({ index, sick }) => `${index}${sick === null ? "" : ` ${sick}`}`);

test("cards that are well are not marked, and nothing is told", () => {
  const { sees, said } = machine();
  for (let i = 0; i < 100; i++) expect(marks(sees([0, 1]))).toEqual(["0", "1"]);
  expect(said()).toEqual([]);
});

test("an Xid error that a card does not get over makes it sick, once, and time alone does not cure it", () => {
  const { sees, said } = machine();
  sees([0, 1]);
  const faults = [xid("kmsg-5", 1, 79)];
  expect(marks(sees([0, 1], { faults }))).toEqual(["0", "1 Xid 79: it has fallen off the bus"]);
  for (let i = 0; i < 100; i++) sees([0, 1], { faults });
  expect(said()).toEqual(["1 sick xid: Xid 79: it has fallen off the bus"]);
});

test("errors that a program brings on itself, and those of a card that is not here, change nothing", () => {
  const { sees, said } = machine();
  sees([0]);
  sees([0], { faults: [13, 31, 43, 45, 63, 68, 92, 94, 109].map((number) => xid(`kmsg-${number}`, 0, number)) });
  sees([0], { faults: [xid("kmsg-1000", 7, 79)] });
  expect(said()).toEqual([]);
  expect(xidVerdict(31)).toBeUndefined();
  expect(xidVerdict(48)).toBe("Xid 48: double bit ECC error");
  expect(xidVerdict(777)).toBe("Xid 777");
});

test("a fault is the card's with its UUID, whatever its number is now", () => {
  const { sees, said } = machine();
  sees([0, 1]);
  sees([0, 1], { faults: [{ id: "nvml-a-1", xid: 95, uuid: "GPU-0", pci_address: null }] });
  expect(said()).toEqual(["0 sick xid: Xid 95: uncontained ECC error"]);
});

test("a card that is gone is sick and still shown; back and quiet for a minute it is used again", () => {
  const { sees, said } = machine();
  sees([0, 1]);
  const [, gone] = sees([0]);
  expect(gone).toMatchObject({ index: 1, uuid: "GPU-1", sick: "is gone", vram_free_gb: null, vram_total_gb: 140 });
  expect(said()).toEqual(["1 sick gone: is gone"]);
  expect(marks(sees([0, 1]))).toEqual(["0", "1 is gone"]);
  sees([0, 1], { afterMs: 58_000 });
  expect(said()).toEqual([]);
  expect(marks(sees([0, 1]))).toEqual(["0", "1"]);
  expect(said()).toEqual(["1 well returned"]);
});

test("a card that comes and goes is not used in between", () => {
  const { sees, said } = machine();
  sees([0]);
  for (let i = 0; i < 5; i++) {
    sees([]);
    sees([0], { afterMs: 30_000 });
    sees([0], { afterMs: 30_000 });
  }
  expect(said()).toEqual(["0 sick gone: is gone"]);
});

test("an Xid error is cured by a reset, in which the card is gone for a while, and a new one in the quiet minute counts", () => {
  const { sees, said } = machine();
  sees([0]);
  sees([0], { faults: [xid("kmsg-1", 0, 79)] });
  sees([]);
  sees([0]);
  const again = [xid("kmsg-1", 0, 79), xid("kmsg-2", 0, 79)];
  sees([0], { faults: again });
  sees([0], { afterMs: 120_000, faults: again });
  expect(said()).toEqual(["0 sick xid: Xid 79: it has fallen off the bus"]);
  sees([], { faults: again });
  sees([0], { faults: again });
  sees([0], { afterMs: 61_000, faults: again });
  expect(said()).toEqual(["0 well returned"]);
});

test("a driver that says nothing of a card for three minutes hangs; probes that do not run say nothing of the card", () => {
  const { sees, said } = machine();
  sees([0], { stale: true });
  sees([0], { stale: true, afterMs: 400_000, blind: true });
  expect(said()).toEqual([]);
  sees([0], { stale: true });
  expect(said()).toEqual(["0 sick silent: its driver has said nothing of it for 3 minutes"]);
  sees([0]);
  sees([0], { afterMs: 59_000 });
  expect(said()).toEqual([]);
  sees([0]);
  expect(said()).toEqual(["0 well returned"]);
});

test("a picture that is not whole takes no card for gone", () => {
  const { sees, said } = machine();
  sees([0, 1]);
  sees([], { complete: false });
  expect(said()).toEqual([]);
});

test("an operator's word cures any of them, by number, UUID, place or all at once", () => {
  const { health, sees, said } = machine();
  sees([0, 1, 2, 3]);
  sees([0, 1, 2], { faults: [0, 1, 2].map((i) => xid(`kmsg-${i}`, i, 119)) });
  said();
  health.declareWell("0", "replaced");
  health.declareWell("gpu-1", null);
  expect(said()).toEqual(["0 well operator", "1 well operator"]);
  expect(() => health.declareWell("0", null)).toThrow(/no such GPU is sick here; sick: GPU 3 .*GPU 2/);
  health.declareWell(undefined, null);
  expect(marks(sees([0, 1, 2]))).toEqual(["0", "1", "2"]);
  // One that was taken out for good is no news any more, and none that the log still tells of.
  expect(said()).toEqual(["3 well operator", "2 well operator"]);
});

test("a restart of the agent forgets nothing, and does not take old errors in the log for new ones", () => {
  const first = machine();
  const faults = [xid("kmsg-9", 0, 79)];
  first.sees([0, 1]);
  first.sees([0, 1], { faults });
  const second = machine({ file: first.file });
  expect(marks(second.sees([0, 1], { faults }))).toEqual(["0 Xid 79: it has fallen off the bus", "1"]);
  second.health.declareWell("0", null);
  second.said();
  const third = machine({ file: first.file });
  third.sees([0, 1], { faults });
  expect(third.said()).toEqual([]);
  third.sees([0, 1], { faults: [...faults, xid("kmsg-10", 0, 48)] });
  expect(third.said()).toEqual(["0 sick xid: Xid 48: double bit ECC error"]);
});

test("a card that is gone when the agent starts is shown as far as it is known", () => {
  const first = machine();
  first.sees([0, 1]);
  first.sees([0]);
  const second = machine({ file: first.file });
  expect(second.sees([0])[1]).toMatchObject({ index: 1, name: "H200", sick: "is gone", vram_total_gb: null });
});

test("a start of the machine counts as a reset: after a quiet minute the card is used again, and its log begins anew", () => {
  const first = machine();
  first.sees([0]);
  first.sees([0], { faults: [xid("kmsg-900", 0, 79)] });
  const second = machine({ file: first.file, bootId: "boot-2" });
  second.sees([0]);
  expect(second.said()).toEqual([]);
  second.sees([0], { afterMs: 61_000 });
  expect(second.said()).toEqual(["0 well returned"]);
  second.sees([0], { faults: [xid("kmsg-3", 0, 79)] });
  expect(second.said()).toEqual(["0 sick xid: Xid 79: it has fallen off the bus"]);
});

test("a damaged file counts as nothing known, and is written anew", () => {
  const file = join(root.path, "damaged.json");
  writeFileSync(file, '{"v":1,"sick":[["x",{"reason":7}]]}');
  const { sees, said } = machine({ file });
  sees([0]);
  sees([]);
  expect(said()).toEqual(["0 sick gone: is gone"]);
  expect(JSON.parse(readFileSync(file, "utf8"))).toMatchObject({ sick: [["0000:00:00.0", { cause: "gone" }]] });
});

test("a runtime may not be used when one of its GPUs is sick, and unless it is said which those are any may be its", () => {
  const { health, sees } = machine();
  sees([0, 1]);
  sees([0, 1], { faults: [xid("kmsg-1", 1, 79)] });
  const runtime = (name: string, more = {}) => RuntimeRecord.parse({ name, kind: name.split("-")[0], ...more });
  const reason = (name: string, said = {}, more = {}) => sickGpuOf(runtime(name, more), health.sick, said);
  expect(reason("vllm-8000")).toBe("may use GPU 1 (H200), which is sick: Xid 79: it has fallen off the bus");
  expect(reason("vllm-8000", { vllm: [0] })).toBeUndefined();
  expect(reason("vllm-8000", { vllm: [0], "vllm-8000": ["GPU-1"] })).toMatch(/^uses GPU 1/);
  expect(reason("vllm-8000", { vllm: ["0000:01:00.0"] })).toMatch(/^uses GPU 1/);
  expect(reason("ollama", { ollama: [] })).toBeUndefined();
  expect(reason("loopback", {}, { diagnostic: true })).toBeUndefined();
});
