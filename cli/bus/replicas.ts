import { jetstreamManager, type StreamConfig } from "@nats-io/jetstream";
import type { Bus } from "../../service/bus.ts";
import { KV_ANSWER_LIMIT_MS, KV_ERR, isApiError } from "../../service/kv.ts";

/** What of the mesh is not held by as many servers as it should be, or by more. */
export interface Replicas {
  raised: string[];
  /** Held by more servers than the cluster now asks for: that is an operator's to change, never ours. */
  above: string[];
}

/**
 * Has every stream of the mesh held by `wanted` servers, as a cluster that has grown can. Never lowered: that a server is
 * missing from the settings may be a slip, and what was lowered is gone from a disk.
 * @throws what the bus says, such as that there are not enough servers yet
 */
export async function raiseReplicas(bus: Bus, wanted: number): Promise<Replicas> {
  const {
    auditStream,
    jobStreams,
    policyBucket,
    qualityBucket,
    nodesBucket,
    sleepBucket,
    auditorBucket,
    releaseStream,
  } = bus.subjects;
  const manager = await jetstreamManager(bus.nc, { timeout: KV_ANSWER_LIMIT_MS, checkAPI: false });
  const found: Replicas = { raised: [], above: [] };
  const buckets = [policyBucket, qualityBucket, nodesBucket, sleepBucket, auditorBucket].map(({ stream }) => stream);
  for (const stream of [auditStream, releaseStream, ...buckets, ...Object.values(jobStreams)]) {
    try {
      const { config } = await manager.streams.info(stream);
      if (config.num_replicas > wanted) found.above.push(stream);
      if (config.num_replicas >= wanted) continue;
      // Where a stream was placed when its server joined the cluster (growth.ts) has room for one only. Undefined, for the
      // library adds to what we leave out.
      const anywhere = { placement: undefined } as unknown as Pick<StreamConfig, "placement">;
      await manager.streams.update(stream, { ...config, ...anywhere, num_replicas: wanted });
      found.raised.push(stream);
    } catch (error) {
      if (!isApiError(error, KV_ERR.streamNotFound)) throw error;
    }
  }
  return found;
}
