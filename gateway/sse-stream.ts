import type { OutgoingHttpHeaders, ServerResponse } from "node:http";

export interface SseOptions {
  /** Headers of the response, asked for when the stream begins. */
  headers: () => OutgoingHttpHeaders;
  /** Silence after which a comment is sent, so that proxies keep the connection, milliseconds. */
  keepAliveMs: number;
  /** A reader that takes nothing for this long has stalled, milliseconds. */
  stallMs: number;
}

/** What is written at once, at most, characters: beyond it a burst does not wait for the end of the tick. */
const FLUSH_AT_CHARS = 64 * 1024;

const SSE_HEADERS = {
  "content-type": "text/event-stream; charset=utf-8",
  "cache-control": "no-cache",
  // nginx otherwise holds events back (proxy_buffering, its documentation of X-Accel-Buffering).
  "x-accel-buffering": "no",
} as const;

/**
 * Server-sent events of one response. The response begins with its first event (or comment), so that a failure before
 * it can still have an HTTP status of its own. Events of one tick go out in one write. Whoever sends awaits `drained()`
 * while `congested`, so that a slow reader holds back the sender instead of filling memory.
 */
export class SseStream {
  readonly #raw: ServerResponse;
  readonly #options: SseOptions;
  readonly #keepAlive: NodeJS.Timeout;
  #pending = "";
  #scheduled = false;
  #begun = false;

  constructor(raw: ServerResponse, options: SseOptions) {
    this.#raw = raw;
    this.#options = options;
    this.#keepAlive = setInterval(() => this.#comment(), options.keepAliveMs);
  }

  /** True once the response's head is sent. */
  get begun(): boolean {
    return this.#begun;
  }

  get congested(): boolean {
    return this.#raw.writableNeedDrain;
  }

  /** @param events whole events, each with its blank line */
  send(events: string): void {
    this.#begin();
    this.#keepAlive.refresh();
    this.#pending += events;
    if (this.#pending.length >= FLUSH_AT_CHARS) return this.#flush();
    if (this.#scheduled) return;
    this.#scheduled = true;
    process.nextTick(() => {
      this.#scheduled = false;
      this.#flush();
    });
  }

  /** Waits until the reader has taken what was sent. */
  drained(): Promise<"drained" | "closed" | "stalled"> {
    const raw = this.#raw;
    if (raw.destroyed) return Promise.resolve("closed");
    if (!raw.writableNeedDrain) return Promise.resolve("drained");
    return new Promise((resolve) => {
      const finish = (how: "drained" | "closed" | "stalled") => {
        clearTimeout(timer);
        raw.off("drain", onDrain);
        raw.off("close", onClose);
        resolve(how);
      };
      const onDrain = () => finish("drained");
      const onClose = () => finish("closed");
      const timer = setTimeout(() => finish("stalled"), this.#options.stallMs);
      raw.once("drain", onDrain);
      raw.once("close", onClose);
    });
  }

  /** Sends the last events and ends the response. */
  end(events: string): void {
    this.close();
    this.#begin();
    this.#pending += events;
    this.#flush();
    this.#raw.end();
  }

  /** Stops the keep-alive comments; the response itself is left as it is. */
  close(): void {
    clearInterval(this.#keepAlive);
  }

  #begin(): void {
    if (this.#begun) return;
    this.#begun = true;
    if (!this.#raw.destroyed) this.#raw.writeHead(200, { ...this.#options.headers(), ...SSE_HEADERS });
  }

  #flush(): void {
    if (this.#pending === "") return;
    const events = this.#pending;
    this.#pending = "";
    if (!this.#raw.destroyed && !this.#raw.writableEnded) this.#raw.write(events);
  }

  #comment(): void {
    // A reader that takes nothing needs no sign of life.
    if (!this.congested) this.send(": still working\n\n");
  }
}
