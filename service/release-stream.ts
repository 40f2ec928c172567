import { createHash } from "node:crypto";
import { jetstream, jetstreamManager, type JetStreamManager } from "@nats-io/jetstream";
import {
  MeshError,
  RELEASE_CHUNK_BYTES,
  Release,
  chunkCount,
  releaseKey,
  type ReleaseFile,
} from "../bus-schemas/index.ts";
import type { Bus } from "./bus.ts";
import { KV_ANSWER_LIMIT_MS, KV_ERR, isApiError, readKv } from "./kv.ts";

/** A stream that is full, or may not grow further, says so by these codes (nats-server, errors.json). */
const FULL = [10_077, 10_047, 10_023];
/** Pieces that are on their way to the bus at once. */
const SENT_AT_ONCE = 8;

/**
 * The stream RELEASES (ADR 0030): what releases of the agent there are, and their bytes. A file is stored once, by its SHA-256, however
 * many releases have it. Written by operators, read by them and by the broker's keeper, who hands pieces out to agents.
 */
export class ReleaseStream {
  readonly #bus: Bus;
  readonly #manager: JetStreamManager;

  private constructor(bus: Bus, manager: JetStreamManager) {
    this.#bus = bus;
    this.#manager = manager;
  }

  static async open(bus: Bus): Promise<ReleaseStream> {
    return new ReleaseStream(bus, await jetstreamManager(bus.nc, { timeout: KV_ANSWER_LIMIT_MS, checkAPI: false }));
  }

  /** A piece of a file. @throws MeshError `not_found`, and what else the bus says */
  async chunk(sha256: string, chunk: number): Promise<Uint8Array> {
    const { releaseChunk, releaseStream } = this.#bus.subjects;
    const subject = releaseChunk(sha256, String(chunk));
    const message = await readKv(this.#manager, releaseStream, { last_by_subj: subject });
    if (message !== undefined) return message.data;
    throw new MeshError("not_found", "the bus has no such piece of a release (any more); see tiermesh release list");
  }

  /** Releases, those that were added last first. What is none is passed over. @throws what the bus says */
  async list(): Promise<Release[]> {
    const { releases, releaseStream } = this.#bus.subjects;
    const found: Release[] = [];
    for (let seq = 1; ;) {
      const message = await readKv(this.#manager, releaseStream, { seq, next_by_subj: releases });
      if (message === undefined) break;
      seq = message.seq + 1;
      const release = Release.safeParse(parseJson(message.string()));
      if (release.success) found.push(release.data);
    }
    return found.toSorted((a, b) => b.added_unix_ms - a.added_unix_ms);
  }

  /** Which of these files lie there whole. @throws what the bus says */
  async has({ sha256, bytes }: Pick<ReleaseFile, "sha256" | "bytes">): Promise<boolean> {
    return (await this.#pieces(sha256)) === chunkCount(bytes);
  }

  /**
   * Stores a file's bytes; those that lie there are not sent again.
   * @param read the bytes from a position on, as many as one piece has
   * @throws MeshError `bad_config` when the bytes are not those, or the stream is full
   */
  async put(
    { sha256, bytes }: Pick<ReleaseFile, "sha256" | "bytes">,
    read: (position: number, length: number) => Promise<Uint8Array>,
    onProgress: (doneBytes: number) => void = () => undefined,
  ): Promise<void> {
    const hash = createHash("sha256");
    const count = chunkCount(bytes);
    const sent = new Set<Promise<void>>();
    let failure: { error: unknown } | undefined;
    for (let chunk = 0; chunk < count && failure === undefined; chunk++) {
      const position = chunk * RELEASE_CHUNK_BYTES;
      const piece = await read(position, Math.min(RELEASE_CHUNK_BYTES, bytes - position));
      hash.update(piece);
      const sending = this.#send(sha256, chunk, piece)
        .catch((error: unknown) => void (failure = { error }))
        .finally(() => sent.delete(sending));
      sent.add(sending);
      if (sent.size >= SENT_AT_ONCE) await Promise.race(sent);
      onProgress(position + piece.length);
    }
    await Promise.all(sent);
    const changed = failure === undefined && hash.digest("hex") !== sha256;
    if (failure === undefined && !changed) return;
    // Half a file would only take room.
    await this.drop(sha256).catch(() => undefined);
    throw changed
      ? new MeshError("bad_config", "the file has changed while it was read; nothing was added")
      : failure?.error;
  }

  /** Makes a release known; its files lie there. @throws what the bus says */
  async announce(release: Release): Promise<void> {
    await this.#publish(this.#bus.subjects.release(releaseKey(release.version)), JSON.stringify(release));
  }

  /** Takes a release away, and every file that no other one has, also what an upload that was cut off has left. @returns false when there was none */
  async remove(version: string): Promise<boolean> {
    const all = await this.list();
    const gone = all.find((release) => release.version === version);
    if (gone === undefined) return false;
    const { allReleaseChunks, release, releaseStream } = this.#bus.subjects;
    await this.#purge(release(releaseKey(version)));
    const kept = new Set(all.filter((each) => each !== gone).flatMap(({ files }) => files.map((file) => file.sha256)));
    const { state } = await this.#manager.streams.info(releaseStream, { subjects_filter: allReleaseChunks });
    const stored = new Set(Object.keys(state.subjects ?? {}).map((subject) => subject.split(".").at(-2) ?? ""));
    for (const sha256 of stored) if (!kept.has(sha256)) await this.drop(sha256);
    return true;
  }

  /** Takes a file's bytes away. @throws what the bus says */
  drop(sha256: string): Promise<void> {
    return this.#purge(this.#bus.subjects.releaseChunks(sha256));
  }

  async #pieces(sha256: string): Promise<number> {
    const { releaseChunks, releaseStream } = this.#bus.subjects;
    const { state } = await this.#manager.streams
      .info(releaseStream, { subjects_filter: releaseChunks(sha256) })
      .catch((cause: unknown) => {
        throw noStream(cause);
      });
    return Object.keys(state.subjects ?? {}).length;
  }

  #send(sha256: string, chunk: number, piece: Uint8Array): Promise<void> {
    return this.#publish(this.#bus.subjects.releaseChunk(sha256, String(chunk)), piece);
  }

  async #publish(subject: string, body: string | Uint8Array): Promise<void> {
    try {
      await jetstream(this.#bus.nc, { timeout: 4 * KV_ANSWER_LIMIT_MS }).publish(subject, body);
    } catch (cause) {
      if (!FULL.some((code) => isApiError(cause, code))) throw cause;
      throw new MeshError(
        "bad_config",
        "the bus has no room for more releases; take an old one away (tiermesh release rm VERSION)",
        { cause },
      );
    }
  }

  async #purge(filter: string): Promise<void> {
    await this.#manager.streams.purge(this.#bus.subjects.releaseStream, { filter });
  }
}

function noStream(cause: unknown): unknown {
  if (!isApiError(cause, KV_ERR.streamNotFound)) return cause;
  return new MeshError(
    "not_supported",
    "this bus keeps no releases: its `tiermesh` is older than this one, or its disk had no room for them",
    { cause },
  );
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
