import type { Msg } from "@nats-io/nats-core";

/** Of a cancel: the client submitted the job again and does not want this try's ending (client/job-stream.ts). */
export function isSuperseded(msg: Msg): boolean {
  if (msg.data.length === 0) return false;
  try {
    return msg.json<{ superseded?: unknown } | null>()?.superseded === true;
  } catch {
    return false;
  }
}
