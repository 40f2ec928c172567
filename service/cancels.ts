import type { Msg } from "@nats-io/nats-core";
import { CancelRequest } from "../bus-schemas/index.ts";
import { readBody } from "./messages.ts";

const PLAIN: CancelRequest = CancelRequest.parse({});

/** What a cancel says; one that cannot be read is a plain cancel, for whoever sent it wants the job to stop. */
export function readCancel(msg: Msg): CancelRequest {
  if (msg.data.length === 0) return PLAIN;
  try {
    return readBody(msg, CancelRequest);
  } catch {
    return PLAIN;
  }
}
