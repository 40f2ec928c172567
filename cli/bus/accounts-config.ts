import { permissionsOf, subjects, type Holder, type Permissions, type Role } from "../../bus-schemas/index.ts";

/** The server's advisories on connections of the mesh's account. */
const CONNECT = "$SYS.ACCOUNT.MESH.CONNECT";
const DISCONNECT = "$SYS.ACCOUNT.MESH.DISCONNECT";

/** A user of the bus as the broker is told of it: a public key and what its role may do. */
export interface BusUser {
  role: Role;
  publicKey: string;
  /** For people who read the file: `agent gpu-1`. */
  label: string;
  holder: Holder;
}

/**
 * The part of a nats-server's configuration that says who may do what. The server's own system account has no user: nobody of
 * the mesh is in it. What it says of the mesh's own connections is handed to the keeper, under subjects of the cell. The
 * file holds public keys, no secret.
 */
export function renderAccounts(users: readonly BusUser[], cell?: string): string {
  const { advisory } = subjects(cell);
  const handed = [
    [CONNECT, advisory("connect")],
    [DISCONNECT, advisory("disconnect")],
  ] as const;
  const lines = [
    "# Written by tiermesh at each change of who may join; changes here are lost.",
    "# What each role may do: docs/security.md, from bus-schemas/permissions.ts.",
    "system_account: SYS",
    "accounts {",
    "  SYS {",
    `    exports: [${handed.map(([from]) => `{ stream: "${from}", accounts: [MESH] }`).join(", ")}]`,
    "  }",
    "  MESH {",
    "    jetstream: enabled",
    "    imports: [",
    ...handed.map(([from, to]) => `      { stream: { account: SYS, subject: "${from}" }, to: "${to}" }`),
    "    ]",
    "    users: [",
    ...users.flatMap(renderUser),
    "    ]",
    "  }",
    "}",
  ];
  return `${lines.join("\n")}\n`;
}

function renderUser({ role, publicKey, label, holder }: BusUser): string[] {
  const permissions = permissionsOf(role, holder);
  const { publish, subscribe, denySubscribe } = permissions;
  return [
    `      # ${label}`,
    `      {`,
    `        nkey: ${publicKey}`,
    // No WebSocket, MQTT or leaf node speaks in its name.
    `        allowed_connection_types: ["STANDARD"]`,
    `        permissions {`,
    `          publish: { allow: [${list(publish)}] }`,
    `          subscribe: { allow: [${list(subscribe)}]${denySubscribe.length === 0 ? "" : `, deny: [${list(denySubscribe)}]`} }`,
    `        }`,
    `      }`,
  ];
}

function list(grants: Permissions["publish"]): string {
  return [...new Set(grants.map(({ subject }) => JSON.stringify(subject)))].join(", ");
}
