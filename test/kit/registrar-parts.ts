import { onTestFinished } from "vitest";
import { Registrar, type RegistrarParts } from "../../cli/bus/registrar.ts";
import { BusUsers } from "../../cli/bus/bus-users.ts";
import type { NodesBucket } from "../../cli/bus/nodes-bucket.ts";
import { MeshError, RegistryReply, type Invitation, type NodeEntry } from "../../bus-schemas/index.ts";
import { newUserNkey } from "../../service/access/nkey-file.ts";
import { createLog } from "../../service/log.ts";
import { FakeBus, FakeEvents } from "./router-parts.ts";
import { tempDir } from "./temp-dir.ts";

/** What the keepers of all servers share: an invitation, and entries with revisions, compare and set. */
export class FakeStore {
  readonly kept = new Map<string, { entry: NodeEntry; revision: number }>();
  revision = 0;
  invitation: Invitation | undefined;
  /** Runs once between a keeper's look and its write. */
  inBetween: (() => Promise<unknown>) | undefined;

  view(): NodesBucket {
    let seen = new Map(this.kept);
    const store = () => this;
    const view = {
      get invitation() {
        return store().invitation;
      },
      putInvitation: async (invitation: Invitation) => void (this.invitation = invitation),
      get entries() {
        return Array.from(seen.values(), ({ entry }) => entry);
      },
      find: (node: string) => seen.get(node)?.entry,
      refresh: async () => void (seen = new Map(this.kept)),
      put: async (entry: NodeEntry) => {
        const before = this.inBetween;
        this.inBetween = undefined;
        await before?.();
        if (this.kept.get(entry.node_id)?.revision !== seen.get(entry.node_id)?.revision)
          throw new MeshError("conflict", `${entry.node_id} was changed by somebody else`);
        this.kept.set(entry.node_id, { entry, revision: ++this.revision });
        seen = new Map(this.kept);
      },
    };
    return view as unknown as NodesBucket;
  }
}

export const key = () => newUserNkey().publicKey;

export async function keeper(store = new FakeStore(), parts: Partial<RegistrarParts> = {}) {
  const folder = tempDir("tiermesh-registrar-");
  const bus = new FakeBus();
  Object.assign(bus.nc, { flush: async () => undefined });
  const events = new FakeEvents();
  const rejected: [string, MeshError][] = [];
  const accounts: string[] = [];
  const clock = { nowMs: Date.parse("2026-11-25") };
  const registrar = new Registrar({
    bus: bus as never,
    bucket: store.view(),
    users: new BusUsers(folder.path, "main", [{ nodeId: "here", layer: "L0", publicKey: key() }]),
    setAccounts: async (text) => void accounts.push(text),
    urls: ["nats://10.0.0.5:4222"],
    caPem: null,
    events: events as never,
    rejections: { add: (kind, error) => void rejected.push([kind, error]) },
    log: createLog("test", "silent"),
    nowMs: () => clock.nowMs,
    ...parts,
  });
  await registrar.start();
  onTestFinished(async () => {
    await registrar.stop();
    await folder.remove();
  });
  let asked = 0;
  const ask = async (what: string, body: unknown): Promise<RegistryReply> => {
    const reply = `_INBOX.asker.${asked++}`;
    bus.deliver(`mesh.main.registry.${what}`, body, { reply });
    return RegistryReply.parse((await bus.next(reply)).json());
  };
  const add = (node_id: string, more: object = {}) =>
    ask("add", { node_id, layer: "L1", join_key: key(), by: "ada", ...more });
  return { accounts, add, ask, bus, clock, events, rejected, store };
}
