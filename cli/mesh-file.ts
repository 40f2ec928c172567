import { readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { z } from "zod";
import { MeshError } from "../bus-schemas/index.ts";
import type { BusAddress } from "../service/bus.ts";
import { BASE_ENV, BaseConfig, busAddressOf, loadConfig, type Environment } from "../service/config.ts";
import { isAlive } from "../service/process-info.ts";
import { stateDir } from "../service/paths.ts";
import { accessOf } from "./bus/access.ts";

/** How other commands on this machine find the running mesh; readable by its owner only, for it may hold a bus password. */
const MeshFile = z.object({
  pid: z.number().int(),
  /** Tells this process from a later one with the same id (service/process-info.ts). */
  start_token: z.string().optional(),
  started_at: z.string(),
  version: z.string(),
  cell: z.string(),
  nats_url: z.string(),
  nats_user: z.string().optional(),
  nats_password: z.string().optional(),
  /** File of an operator's key, and of the one for tools that make their inboxes where all do. */
  nats_nkey: z.string().optional(),
  nats_tools_nkey: z.string().optional(),
  /** For programs that only submit jobs. */
  nats_client_nkey: z.string().optional(),
  /** File of the authority that the bus is checked by. */
  nats_ca: z.string().optional(),
  gateway_url: z.string(),
  node_id: z.string().nullable(),
  state_dir: z.string(),
  processes: z.array(
    z.object({
      name: z.string(),
      pid: z.number().int().nullable(),
      state: z.string(),
      restarts: z.number().int(),
      health_port: z.number().int().nullable(),
    }),
  ),
});
export type MeshFile = z.infer<typeof MeshFile>;

export function meshFilePath(env: Environment): string {
  return join(stateDir({ env }), "mesh.json");
}

export function writeMeshFile(env: Environment, file: MeshFile): void {
  const path = meshFilePath(env);
  writeFileSync(`${path}.new`, JSON.stringify(file, null, 2), { mode: 0o600 });
  renameSync(`${path}.new`, path);
}

export function removeMeshFile(env: Environment): void {
  rmSync(meshFilePath(env), { force: true });
}

/** The mesh running on this machine, or undefined. A file left behind by a killed supervisor does not count. */
export function readMeshFile(env: Environment): MeshFile | undefined {
  let file: MeshFile;
  try {
    file = MeshFile.parse(JSON.parse(readFileSync(meshFilePath(env), "utf8")));
  } catch {
    return undefined;
  }
  return isAlive(file.pid) ? file : undefined;
}

/**
 * Address of the bus for a command: `TIERMESH_NATS_URL` with its user and password or key, else the mesh on this machine, as
 * an operator.
 * @throws MeshError `bus_unavailable` saying how to start one.
 */
export function busAddress(env: Environment): BusAddress {
  const url = env["TIERMESH_NATS_URL"];
  if (url !== undefined && url !== "") return busAddressOf(loadConfig(BaseConfig, BASE_ENV, { env }));
  const file = readMeshFile(env);
  // A bus elsewhere whose operator is here, or one that runs here without the rest of a mesh (`tiermesh bus run`).
  const bus = file === undefined ? accessOf("operator", stateDir({ env })) : undefined;
  if (bus !== undefined) return inDuty(bus, env["TIERMESH_DUTY"]);
  if (file === undefined)
    throw new MeshError(
      "bus_unavailable",
      "no mesh runs on this machine; start one with `npm start`, or set TIERMESH_NATS_URL to a bus elsewhere",
    );
  return inDuty(addressIn(file), env["TIERMESH_DUTY"]);
}

/** On a bus with separate duties: as the one of the three that is asked for, by the key beside the operator's. */
function inDuty(address: BusAddress, duty: string | undefined): BusAddress {
  if (duty === undefined || duty === "" || address.nkeyFile === undefined) return address;
  if (duty !== "security" && duty !== "inspector")
    throw new MeshError("bad_config", "TIERMESH_DUTY: security or inspector", { field: "TIERMESH_DUTY" });
  return { ...address, nkeyFile: join(dirname(address.nkeyFile), `${duty}.nk`) };
}

/** How that mesh's bus is reached. */
export function addressIn({ nats_url, nats_user, nats_password, nats_nkey, nats_ca, cell }: MeshFile): BusAddress {
  return { url: nats_url, user: nats_user, password: nats_password, nkeyFile: nats_nkey, caFile: nats_ca, cell };
}
