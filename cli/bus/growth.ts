import { existsSync, readFileSync, readdirSync } from "node:fs";
import { cp } from "node:fs/promises";
import { join } from "node:path";
import { jetstreamManager, type StreamConfig } from "@nats-io/jetstream";
import { MeshError } from "../../bus-schemas/index.ts";
import type { Bus } from "../../service/bus.ts";
import { busFiles, serverTag } from "../../service/bus-server/index.ts";
import { KV_ANSWER_LIMIT_MS, KV_ERR, isApiError } from "../../service/kv.ts";

/**
 * A lone bus that becomes the first server of a cluster. nats-server (2.15.2, tried) does not take its streams along: to the
 * cluster they do not exist, and what lies on the disk is deleted as left over. But a stream that the cluster makes anew on
 * that very server finds its old messages there. So they are made by that server's keeper alone, placed on it, as they were;
 * then their replicas are raised.
 */

/** Where a server keeps the streams of our account, and what a cluster has decided. */
function storeOf(folder: string) {
  const store = join(busFiles(folder).jetstream, "jetstream");
  return { streams: join(store, "MESH", "streams"), cluster: join(store, "SYS", "_js_") };
}

/** The streams that a server holds which never was in a cluster. @throws MeshError `bad_config` naming a damaged file */
export function loneStreams(folder: string): StreamConfig[] {
  const { cluster, streams } = storeOf(folder);
  if (existsSync(cluster) || !existsSync(streams)) return [];
  return readdirSync(streams)
    .map((name) => join(streams, name, "meta.inf"))
    .filter((file) => existsSync(file))
    .map((file) => {
      try {
        // The server's own notes beside the configuration, which it does not take back.
        const {
          Created: _created,
          metadata: _versions,
          ...config
        } = JSON.parse(readFileSync(file, "utf8")) as StreamConfig & { Created: unknown };
        return config as StreamConfig;
      } catch (cause) {
        throw new MeshError("bad_config", `${file} is damaged: the stream cannot be taken into the cluster`, { cause });
      }
    });
}

/** Keeps what a lone bus has stored beside it, before a cluster touches it. @returns where */
export async function keepAside(folder: string): Promise<string> {
  const { jetstream } = busFiles(folder);
  const aside = `${jetstream}.before-cluster`;
  await cp(jetstream, aside, { recursive: true });
  return aside;
}

/** Takes a lone server's streams into its cluster. @throws what the bus says, such as that there is no leader yet */
export async function adoptStreams(bus: Bus, configs: readonly StreamConfig[], server: string): Promise<void> {
  const manager = await jetstreamManager(bus.nc, { timeout: KV_ANSWER_LIMIT_MS, checkAPI: false });
  for (const { num_replicas: _one, ...config } of configs) {
    if (await exists(manager, config.name)) continue;
    await manager.streams.add({ ...config, num_replicas: 1, placement: { cluster: "", tags: [serverTag(server)] } });
  }
}

/** @throws MeshError `bus_unavailable` while a stream of the mesh is missing, and what the bus says */
export async function requireStreams(bus: Bus, first: string): Promise<void> {
  const { auditStream, nodesBucket } = bus.subjects;
  const manager = await jetstreamManager(bus.nc, { timeout: KV_ANSWER_LIMIT_MS, checkAPI: false });
  for (const stream of [auditStream, nodesBucket.stream])
    if (!(await exists(manager, stream)))
      throw new MeshError("bus_unavailable", `${first} has not brought its streams yet`);
}

async function exists(manager: Awaited<ReturnType<typeof jetstreamManager>>, stream: string): Promise<boolean> {
  try {
    await manager.streams.info(stream);
    return true;
  } catch (error) {
    if (isApiError(error, KV_ERR.streamNotFound)) return false;
    throw error;
  }
}
