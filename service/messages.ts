import { headers as newHeaders, type Msg, type MsgHdrs } from "@nats-io/nats-core";
import { HEADERS, MeshError, isInbox, parseOrThrow } from "../bus-schemas/index.ts";
import type { z } from "zod";
import { answerEncoding, contentType, decode, encode, type Encoding } from "./codec.ts";

/** Largest body a process of the mesh reads, bytes; the embedded bus allows no more either. */
export const MAX_BODY_BYTES = 8 * 1024 * 1024;

/**
 * A message's body, checked.
 * @throws MeshError `payload_too_large`, `bad_request` (naming the field) or `codec_unknown`.
 */
export function readBody<T extends z.ZodType>(msg: Msg, schema: T): z.infer<T> {
  if (msg.data.length > MAX_BODY_BYTES) {
    throw new MeshError(
      "payload_too_large",
      `the body has ${msg.data.length} bytes; at most ${MAX_BODY_BYTES} are read`,
    );
  }
  return parseOrThrow(schema, decode(msg.data, header(msg, HEADERS.contentType)));
}

/** A header's value, or undefined when absent or empty. */
export function header(msg: Msg, name: string): string | undefined {
  const value = msg.headers?.get(name);
  return value === undefined || value === "" ? undefined : value;
}

/** Headers for a body in this encoding. */
export function headersFor(encoding: Encoding): MsgHdrs {
  const result = newHeaders();
  result.set(HEADERS.contentType, contentType(encoding));
  return result;
}

/**
 * Answers a request in the encoding it came in. Only an inbox is answered: whoever may ask something must not be able to
 * make us speak on the mesh's own subjects.
 */
export function respond(msg: Msg, value: unknown): void {
  if (!isInbox(msg.reply ?? "")) return;
  const encoding = answerEncoding(header(msg, HEADERS.contentType));
  msg.respond(encode(value, encoding), { headers: headersFor(encoding) });
}
