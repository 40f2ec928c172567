import {
  SleepEntry,
  type MagicOrder,
  type MagicReply,
  type NodeRecordInput,
  type SleepRecord,
} from "../../bus-schemas/index.ts";
import { Sleepers } from "../../router/wake/sleepers.ts";
import { Wakes } from "../../router/wake/wakes.ts";
import { nodeRecord, routerParts } from "./router-parts.ts";

export const NETWORK = "192.168.7.0/24";
export const CARD = {
  mac: "02:00:00:00:00:01",
  network: NETWORK,
  address: "192.168.7.20",
  broadcast: "192.168.7.255",
  closed_because: null,
  ready_in_seconds: null,
};

/** A bucket of several routers, inside this process: compare-and-set as on the bus. */
export class FakeSleepBucket {
  readonly stored = new Map<string, { entry: SleepEntry; revision: number }>();
  /** Thrown by the next writes. */
  failure: Error | undefined;
  #revision = 0;

  /** The view of one router. */
  open() {
    let held = new Map(this.stored);
    return {
      get entries() {
        return Array.from(held.values(), ({ entry }) => entry);
      },
      find: (nodeId: string) => held.get(nodeId)?.entry,
      refresh: async () => void (held = new Map(this.stored)),
      reread: async (nodeId: string) => {
        const now = this.stored.get(nodeId);
        if (now === undefined) held.delete(nodeId);
        else held.set(nodeId, now);
        return now?.entry;
      },
      put: async (entry: SleepEntry) => {
        if (this.failure !== undefined) throw this.failure;
        const { node_id: nodeId } = entry;
        if (held.get(nodeId)?.revision !== this.stored.get(nodeId)?.revision) return false;
        const next = { entry: SleepEntry.parse(entry), revision: ++this.#revision };
        this.stored.set(nodeId, next);
        held.set(nodeId, next);
        return true;
      },
    };
  }
}

/** What a neighbour was asked, and by which answer. */
interface Asked extends MagicOrder {
  neighbour: string;
}

type Answer = (neighbour: string) => Partial<MagicReply> | "silent";

/** A router that wakes machines, over a fake bus; several share one bucket. */
export async function wakingRouter(
  bucket = new FakeSleepBucket(),
  policy: Record<string, unknown> = { wake_on_lan: { enabled: true } },
) {
  const kit = routerParts(policy);
  const asked: Asked[] = [];
  const state: { answer: Answer } = { answer: () => ({}) };
  Object.assign(kit.bus.nc, {
    request: async (subject: string, body: string) => {
      const neighbour = subject.split(".").at(-1) ?? "";
      asked.push({ ...(JSON.parse(body) as MagicOrder), neighbour });
      const answer = state.answer(neighbour);
      if (answer === "silent") throw new Error("timeout");
      return { json: () => ({ ok: true, node_id: neighbour, packets: 18, error: null, ...answer }) };
    },
  });
  const { bus, events, fleet, log, policy: policyOf } = kit.parts;
  const sleepers = new Sleepers({ open: async () => bucket.open(), fleet, log });
  const wakes = new Wakes({ id: "one", bus, fleet, events, log, policy: policyOf, sleepers });
  wakes.start();
  await sleepers.look();
  const parts = { ...kit.parts, wakes };
  const awake = (nodeId: string, overrides: Partial<NodeRecordInput> = {}) =>
    kit.join(nodeRecord(nodeId, { networks: [NETWORK], ...overrides }));
  /** A neighbour that serves something else. */
  const neighbour = (nodeId: string, seq = 0) =>
    awake(nodeId, { seq, models: ["other"], served_models: [{ name: "other", runtime: "ollama" }] });
  const sleeps = (nodeId: string, seq: number, card: Partial<SleepRecord> = {}) =>
    awake(nodeId, { seq, status: "suspended", status_reason: "about to sleep", sleep: { ...CARD, ...card } });
  const woken = () => kit.events.of("node_woken");
  return { ...kit, parts, bucket, asked, state, sleepers, wakes, awake, neighbour, sleeps, woken };
}
