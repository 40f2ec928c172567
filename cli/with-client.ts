import { MeshClient } from "../client/index.ts";
import { createLog } from "../service/log.ts";
import { busAddress } from "./mesh-file.ts";

/** Runs `body` with a client on the mesh of this machine, or of `TIERMESH_NATS_URL`, and closes it. */
export async function withClient<T>(body: (client: MeshClient) => Promise<T>): Promise<T> {
  const client = await MeshClient.connect({
    ...busAddress(process.env),
    name: "cli",
    log: createLog("cli", process.env["LOG_LEVEL"] ?? "error"),
  });
  try {
    return await body(client);
  } finally {
    await client.close();
  }
}
