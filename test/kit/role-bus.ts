import { ownInbox, TOOL_INBOX, type Layer, type Role } from "../../bus-schemas/index.ts";
import { renderAccounts, type BusUser } from "../../cli/bus/accounts-config.ts";
import { newUserNkey, type UserNkey } from "../../service/access/nkey-file.ts";
import { obtainNatsServer, startEmbeddedBus } from "../../service/bus-server/index.ts";
import { RawNats } from "./raw-nats.ts";
import { tempDir } from "./temp-dir.ts";

/** Every kind of user that the bus of a mesh has, by the name that tests use. */
export const HOLDERS = {
  router: { role: "router" },
  agent: { role: "agent", node: "gpu-1", layer: "L1" },
  egress: { role: "egress", node: "cloud-1", layer: "L2" },
  gateway: { role: "gateway" },
  auditor: { role: "auditor" },
  monitor: { role: "monitor" },
  client: { role: "client" },
  reader: { role: "reader", node: "siem-1" },
  operator: { role: "operator" },
  tools: { role: "operator" },
  administrator: { role: "administrator" },
  security: { role: "security" },
  inspector: { role: "inspector" },
  keeper: { role: "keeper" },
  join: { role: "join", node: "new-1" },
  invite: { role: "invite" },
} as const satisfies Record<string, { role: Role; node?: string; layer?: Layer }>;
export type HolderName = keyof typeof HOLDERS;
export const HOLDER_NAMES = Object.keys(HOLDERS) as HolderName[];

/** A real nats-server that knows all roles, with the accounts that the product renders. */
export interface RoleBus extends AsyncDisposable {
  port: number;
  nkeys: Readonly<Record<HolderName, UserNkey>>;
  inboxOf(name: HolderName): string;
  connect(name: HolderName): Promise<RawNats>;
  /** Somebody who may do everything, and hears all that gets through; no mesh has such a user. */
  witness(): Promise<RawNats>;
}

export async function startRoleBus(): Promise<RoleBus> {
  const folder = tempDir("tiermesh-roles-");
  const nkeys = Object.fromEntries(HOLDER_NAMES.map((name) => [name, newUserNkey()])) as Record<HolderName, UserNkey>;
  const inboxOf = (name: HolderName) => (name === "tools" ? TOOL_INBOX : ownInbox(nkeys[name].publicKey));
  const users = HOLDER_NAMES.map((name): BusUser => {
    const { role, ...who } = HOLDERS[name];
    return { role, publicKey: nkeys[name].publicKey, label: name, holder: { ...who, inbox: inboxOf(name) } };
  });
  const witness = newUserNkey();
  const accounts = renderAccounts(users).replace("users: [", `users: [\n      { nkey: ${witness.publicKey} }`);
  const { path: binary } = await obtainNatsServer();
  const server = await startEmbeddedBus({ binary, stateDir: folder.path, accounts });
  return {
    port: server.port,
    nkeys,
    inboxOf,
    connect: (name) => RawNats.open(server.port, nkeys[name]),
    witness: () => RawNats.open(server.port, witness),
    [Symbol.asyncDispose]: async () => {
      await server.stop();
      await folder.remove();
    },
  };
}
