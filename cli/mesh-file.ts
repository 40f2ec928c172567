import { readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { MeshError } from "../bus-schemas/index.ts";
import type { Environment } from "../service/config.ts";
import { isAlive } from "../service/process-info.ts";
import { stateDir } from "../service/paths.ts";

/** How other commands on this machine find the running mesh; readable by its owner only, for it holds the bus password. */
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
 * Address of the bus for a command: `TIERMESH_NATS_URL` and its user, password and CA, else the mesh on this machine.
 * @throws MeshError `bus_unavailable` saying how to start one.
 */
export function busAddress(env: Environment): {
  url: string;
  user?: string;
  password?: string;
  caFile?: string;
  cell: string;
} {
  const url = env["TIERMESH_NATS_URL"];
  if (url !== undefined && url !== "") {
    const [user, password] = [env["TIERMESH_NATS_USER"], env["TIERMESH_NATS_PASSWORD"]];
    const caFile = env["TIERMESH_NATS_CA"];
    return {
      url,
      cell: env["TIERMESH_CELL"] ?? "main",
      ...(user === undefined ? {} : { user }),
      ...(password === undefined ? {} : { password }),
      ...(caFile === undefined || caFile === "" ? {} : { caFile }),
    };
  }
  const file = readMeshFile(env);
  if (file === undefined)
    throw new MeshError(
      "bus_unavailable",
      "no mesh runs on this machine; start one with `npm start`, or set TIERMESH_NATS_URL to a bus elsewhere",
    );
  return {
    url: file.nats_url,
    cell: file.cell,
    ...(file.nats_user === undefined ? {} : { user: file.nats_user }),
    ...(file.nats_password === undefined ? {} : { password: file.nats_password }),
    ...(file.nats_ca === undefined ? {} : { caFile: file.nats_ca }),
  };
}
