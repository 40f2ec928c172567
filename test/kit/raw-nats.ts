import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { fromSeed } from "@nats-io/nkeys";
import type { UserNkey } from "../../service/access/nkey-file.ts";

/** Who connects: by a password, or by an nkey. */
export type Identity = { user: string; password: string } | Pick<UserNkey, "publicKey" | "seed">;

export interface RawMessage {
  subject: string;
  /** Which subscription it came by, as `subscribe` returned it. */
  sid: number;
  /** The header block as it came, or "". */
  headers: string;
  body: string;
}

/** The NATS text protocol by hand: a client in another language, with no library of ours or anyone's. */
export class RawNats implements AsyncDisposable {
  readonly #socket: Socket;
  readonly messages: RawMessage[] = [];
  readonly errors: string[] = [];
  readonly #waiting = new Set<() => void>();
  #buffer = Buffer.alloc(0);
  /** What the server wants signed by who has a key; empty where it wants passwords. */
  readonly #nonce = Promise.withResolvers<string>();
  #pongs = 0;
  #sids = 0;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("data", (data: Buffer) => {
      this.#buffer = Buffer.concat([this.#buffer, data]);
      while (this.#take());
      for (const look of this.#waiting) look();
    });
    socket.on("error", (error) => this.errors.push(error.message));
  }

  static async open(port: number, as: Identity): Promise<RawNats> {
    const client = await RawNats.greet(port);
    const nonce = await client.#nonce.promise;
    const who =
      "password" in as
        ? { user: as.user, pass: as.password }
        : { nkey: as.publicKey, sig: Buffer.from(fromSeed(as.seed).sign(Buffer.from(nonce))).toString("base64url") };
    client.write(
      `CONNECT ${JSON.stringify({ ...who, verbose: false, pedantic: false, headers: true, no_responders: true, lang: "raw", version: "0", protocol: 1 })}\r\n`,
    );
    await client.flush();
    return client;
  }

  /** Connected, but not introduced. */
  static async greet(port: number): Promise<RawNats> {
    const socket = connect(port, "127.0.0.1");
    await once(socket, "connect");
    return new RawNats(socket);
  }

  write(text: string | Uint8Array): void {
    this.#socket.write(text);
  }

  subscribe(subject: string, queue = ""): number {
    this.write(`SUB ${subject} ${queue} ${++this.#sids}\r\n`);
    return this.#sids;
  }

  publish(subject: string, body: string, reply = "", headers: Readonly<Record<string, string>> = {}): void {
    const to = reply === "" ? subject : `${subject} ${reply}`;
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
    const size = Buffer.byteLength(body);
    if (lines.length === 0) return this.write(`PUB ${to} ${size}\r\n${body}\r\n`);
    const block = `NATS/1.0\r\n${lines.join("")}\r\n`;
    const blockSize = Buffer.byteLength(block);
    this.write(`HPUB ${to} ${blockSize} ${blockSize + size}\r\n${block}${body}\r\n`);
  }

  /** The first message so far or to come that matches. */
  next(matches: (message: RawMessage) => boolean, limitMs = 10_000): Promise<RawMessage> {
    return this.#until(() => this.messages.find(matches), limitMs);
  }

  /** All that was written has been read by the server. */
  async flush(): Promise<void> {
    const wanted = this.#pongs + 1;
    this.write("PING\r\n");
    await this.#until(() => (this.#pongs >= wanted ? true : undefined), 10_000);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#socket.destroyed) return;
    const closed = once(this.#socket, "close");
    this.#socket.destroy();
    await closed;
  }

  #until<T>(look: () => T | undefined, limitMs: number): Promise<T> {
    return new Promise((resolve, reject) => {
      const check = () => {
        const found = look();
        if (found === undefined) return;
        clearTimeout(timer);
        this.#waiting.delete(check);
        resolve(found);
      };
      const timer = setTimeout(() => {
        this.#waiting.delete(check);
        const had = this.messages.map(({ subject }) => subject).slice(-10);
        reject(
          new Error(`nothing came within ${limitMs} ms; errors ${this.errors.join()}; last subjects ${had.join()}`),
        );
      }, limitMs);
      this.#waiting.add(check);
      check();
    });
  }

  /** Takes one protocol message out of the buffer; false when there is no whole one. */
  #take(): boolean {
    const end = this.#buffer.indexOf("\r\n");
    if (end === -1) return false;
    const line = this.#buffer.toString("latin1", 0, end);
    const [verb = "", ...rest] = line.split(" ");
    if (verb !== "MSG" && verb !== "HMSG") {
      this.#buffer = this.#buffer.subarray(end + 2);
      if (verb === "PING") this.write("PONG\r\n");
      if (verb === "PONG") this.#pongs++;
      if (verb === "INFO") this.#nonce.resolve((JSON.parse(rest.join(" ")) as { nonce?: string }).nonce ?? "");
      if (verb === "-ERR") this.errors.push(rest.join(" "));
      return true;
    }
    const total = Number(rest.at(-1));
    const head = verb === "HMSG" ? Number(rest.at(-2)) : 0;
    if (this.#buffer.length < end + 2 + total + 2) return false;
    const payload = this.#buffer.subarray(end + 2, end + 2 + total);
    this.messages.push({
      subject: rest[0] ?? "",
      sid: Number(rest[1]),
      headers: payload.toString("latin1", 0, head),
      body: payload.toString("utf8", head),
    });
    this.#buffer = this.#buffer.subarray(end + 2 + total + 2);
    return true;
  }
}
