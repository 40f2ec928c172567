import { expect, test } from "vitest";
import { MeshError, RuntimeRecord, ServedModel, type ModelAction } from "../bus-schemas/index.ts";
import type { ModelOrder } from "./runtimes/runtime.ts";
import type { OrderHandlers } from "./work/work-thread.ts";
import { ModelOrders } from "./model-orders.ts";

const runtime = (name: string, ...manages: ModelAction[]) => RuntimeRecord.parse({ name, kind: name, manages });
const model = (name: string, of: string) => ServedModel.parse({ name, runtime: of });

function setup(
  runtimes: RuntimeRecord[],
  models: ServedModel[] = [],
  notNow = (_: ModelAction): string | undefined => undefined,
) {
  const given: { runtime: string; order: ModelOrder; handlers: OrderHandlers; cancelled: boolean }[] = [];
  const work = {
    manage: (name: string, order: ModelOrder, handlers: OrderHandlers) =>
      given.push({ runtime: name, order, handlers, cancelled: false }) - 1,
    cancel: (id: number) => void (given[id]!.cancelled = true),
  };
  return { given, orders: new ModelOrders({ work, fleet: { runtimes, models }, notNow }) };
}

const ollama = runtime("ollama", "load", "unload", "pull");
const vllm = runtime("vllm-8000");
const never = new AbortController().signal;

test("an order goes to the runtime that has the model and can do it", () => {
  const { orders } = setup(
    [vllm, ollama],
    [model("tiny", "vllm-8000"), model("tiny", "ollama"), model("llama3.2:latest", "ollama")],
  );
  expect(orders.place("load", "tiny")).toEqual({ action: "load", runtime: "ollama", model: "tiny" });
  expect(orders.place("load", "tiny", "vllm-8000").runtime).toBe("vllm-8000");
  expect(orders.place("unload", "llama3.2")).toEqual({ action: "unload", runtime: "ollama", model: "llama3.2:latest" });
  expect(orders.place("pull", "new")).toEqual({ action: "pull", runtime: "ollama", model: "new" });
});

test("one that only a runtime without management has goes there, which says what to do instead", () => {
  const { orders } = setup([vllm], [model("tiny", "vllm-8000")]);
  expect(orders.place("load", "tiny").runtime).toBe("vllm-8000");
  expect(orders.place("pull", "new", "vllm-8000").runtime).toBe("vllm-8000");
});

test.each<[string, Parameters<ModelOrders["place"]>, string, string]>([
  ["a model that is not there", ["load", "huge"], "model_not_found", "model"],
  ["a runtime that is not there", ["load", "tiny", "ollama-2"], "not_found", "runtime"],
  ["a download where nothing downloads", ["pull", "new"], "not_supported", "command"],
])("%s is refused by its name and with what to do", (_, order, code, field) => {
  const { orders } = setup([vllm], [model("tiny", "vllm-8000")]);
  expect(() => orders.place(...order)).toThrow(expect.objectContaining({ code, field }));
});

test("what the machine is to be spared now is refused with the reason, and the rest is not", () => {
  const spared = (action: ModelAction) => (action === "pull" ? "its network is metered" : undefined);
  const { orders } = setup([ollama], [model("tiny", "ollama")], spared);
  expect(() => orders.place("pull", "new")).toThrow(/not now: its network is metered/);
  expect(orders.place("load", "tiny").runtime).toBe("ollama");
});

test("an order ends when it is done, failed or given up, and four at most are under way", async () => {
  const { orders, given } = setup([ollama]);
  const place = { action: "pull", runtime: "ollama", model: "new" } as const;
  const stop = new AbortController();
  const told: unknown[] = [];
  const all = [
    orders.carryOut(place, (progress) => told.push(progress), never),
    orders.carryOut(place, () => undefined, never),
    orders.carryOut(place, () => undefined, stop.signal),
    orders.carryOut(place, () => undefined, never),
  ];
  expect(() => orders.carryOut(place, () => undefined, never)).toThrow(expect.objectContaining({ code: "all_busy" }));
  given[0]?.handlers.onProgress({ phase: "starting", done_bytes: null, total_bytes: null });
  given[0]?.handlers.onDone();
  given[1]?.handlers.onFailed(new MeshError("runtime_failed", "no"));
  stop.abort();
  given[3]?.handlers.onDone();
  const ends = await Promise.allSettled(all);
  expect(ends.map((end) => (end.status === "fulfilled" ? "done" : (end.reason as MeshError).code))).toEqual([
    "done",
    "runtime_failed",
    "cancelled",
    "done",
  ]);
  expect(told).toHaveLength(1);
  expect(given.map(({ cancelled }) => cancelled)).toEqual([false, false, true, false]);
  const next = orders.carryOut(place, () => undefined, never);
  given[4]?.handlers.onDone();
  await next;
});
