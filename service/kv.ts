import { nanos } from "@nats-io/nats-core";
import {
  DiscardPolicy,
  JetStreamApiError,
  RetentionPolicy,
  StorageType,
  type JetStreamManager,
  type StoredMsg,
} from "@nats-io/jetstream";

/** The bus answers within this time, milliseconds. */
export const KV_ANSWER_LIMIT_MS = 2000;
/** JetStream's error codes (nats-server, errors.json). */
export const KV_ERR = { wrongLastSequence: 10_071, noMessage: 10_037, streamNotFound: 10_059 };

/** A JetStream KV bucket, spoken to as the stream that it is (NATS ADR-8). */
export interface KvBucket {
  name: string;
  stream: string;
}

/**
 * Makes a bucket that is not there. One that is stays as it is: its replicas and limits are its owner's.
 * @param history revisions kept of each key; values older than `maxAgeMs` are dropped, milliseconds (never, when left out)
 */
export async function ensureKv(
  manager: JetStreamManager,
  { name, stream }: KvBucket,
  { description, history, maxAgeMs = 0 }: { description: string; history: number; maxAgeMs?: number },
): Promise<void> {
  try {
    await manager.streams.info(stream);
  } catch (error) {
    if (!isApiError(error, KV_ERR.streamNotFound)) throw error;
    await manager.streams.add({
      name: stream,
      subjects: [`$KV.${name}.>`],
      description,
      retention: RetentionPolicy.Limits,
      storage: StorageType.File,
      discard: DiscardPolicy.New,
      max_msgs_per_subject: history,
      max_age: nanos(maxAgeMs),
      allow_rollup_hdrs: true,
      deny_delete: true,
      // Values come in JSON then, not as they are: JetStream answers where its asker says, and in its own right.
      allow_direct: false,
      num_replicas: 1,
    });
  }
}

/** A message of a bucket; undefined when there is none such, or no bucket. @throws what else the bus says */
export async function readKv(
  manager: JetStreamManager,
  stream: string,
  query: { last_by_subj: string } | { seq: number; next_by_subj?: string },
): Promise<StoredMsg | undefined> {
  try {
    return (await manager.streams.getMessage(stream, query)) ?? undefined;
  } catch (error) {
    if (isApiError(error, KV_ERR.noMessage) || isApiError(error, KV_ERR.streamNotFound)) return undefined;
    throw error;
  }
}

/** Whether a message says that its key was deleted: it then has this header (DEL or PURGE) and no body. */
export function isDeletion(message: StoredMsg): boolean {
  return (message.header?.get("KV-Operation") ?? "") !== "";
}

export function isApiError(error: unknown, code: number): boolean {
  return error instanceof JetStreamApiError && error.code === code;
}

/** A header's text for people, cut to a label; whoever wrote it may have written anything. */
export function readable(value: string | undefined): string | undefined {
  if (value === undefined || value === "") return undefined;
  try {
    value = decodeURIComponent(value);
  } catch {
    // Not ours, then as it is.
  }
  return value.replace(/\p{Cc}/gu, " ").slice(0, 200);
}
