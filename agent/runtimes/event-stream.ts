import { createParser, type EventSourceMessage } from "eventsource-parser";
import { MeshError } from "../../bus-schemas/index.ts";
import { asObject } from "./openai-chunk.ts";

/** An answer beyond this is a broken server, not a long answer: 64 MiB of events is some 300,000 tokens. */
const MAX_ANSWER_BYTES = 64 * 1024 * 1024;
/** One event; the longest real ones are tool arguments sent whole. */
const MAX_EVENT_CHARS = 4 * 1024 * 1024;

export interface EventStreamOptions {
  /** For error messages: `the runtime`, `the provider`. */
  who: string;
  /** Called at each event and each comment, by which servers say that they still work. */
  onSign?: (() => void) | undefined;
}

/**
 * The server-sent events of a response body, split at any byte. Comments and unknown fields are passed over, as the
 * standard asks.
 * @throws MeshError `runtime_failed` when an event or the whole is longer than any answer is.
 */
export async function* readEvents(
  body: AsyncIterable<Buffer>,
  { who, onSign }: EventStreamOptions,
): AsyncIterable<EventSourceMessage> {
  let events: EventSourceMessage[] = [];
  let parserFailed = false;
  const parser = createParser({
    maxBufferSize: MAX_EVENT_CHARS,
    onEvent: (event) => {
      onSign?.();
      events.push(event);
    },
    onComment: () => onSign?.(),
    onError: (error) => {
      // Unknown fields are to be ignored (the SSE standard); a full buffer ends the parser.
      if (error.type === "max-buffer-size-exceeded") parserFailed = true;
    },
  });
  const decoder = new TextDecoder();
  let sizeBytes = 0;
  for await (const part of body) {
    sizeBytes += part.byteLength;
    if (sizeBytes > MAX_ANSWER_BYTES) throw new MeshError("runtime_failed", `${who}'s answer is too long`);
    parser.feed(decoder.decode(part, { stream: true }));
    if (parserFailed) throw new MeshError("runtime_failed", `${who} sent an event that is too long`);
    yield* events;
    events = [];
  }
}

/** The object an event carries. @throws MeshError `runtime_failed`: to skip it would be to lose a piece of the answer. */
export function eventObject(event: EventSourceMessage, who: string): Record<string, unknown> {
  try {
    const object = asObject(JSON.parse(event.data));
    if (object !== undefined) return object;
  } catch {
    // Told below.
  }
  throw new MeshError("runtime_failed", `${who} sent an event that is not a JSON object`);
}
