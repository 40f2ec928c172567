/**
 * A witness by c2sp.org/tlog-witness: cosigns checkpoints of the logs that it knows, each only as the continuation of the one
 * before. What it has cosigned is on the disk before its signature is given out; so it can be killed at any moment and still
 * never cosigns two histories of one log.
 */
import path from "node:path";
import { MeshError } from "../../bus-schemas/index.ts";
import { openCheckpoint, type Checkpoint, type TreeHead } from "../tlog/checkpoint.ts";
import { DISK, replaceFiles, type Disk } from "../tlog/files.ts";
import { EMPTY_ROOT, sha256 } from "../tlog/hash.ts";
import type { NoteSigner, NoteVerifier } from "../tlog/keys.ts";
import { signatureLine, textOf } from "../tlog/note.ts";
import { isConsistent, same } from "../tlog/tree.ts";
import { SIZE_TYPE, parseAddCheckpoint } from "./request.ts";

/** An HTTP answer. */
export interface Answer {
  status: 200 | 400 | 403 | 404 | 409 | 422 | 500;
  body: string;
  type: string;
}

export interface WitnessOptions {
  signer: NoteSigner;
  /** Keys of the logs that are cosigned. */
  logs: readonly NoteVerifier[];
  /** Where the newest checkpoint of each log is kept. */
  folder: string;
  /** Told each refusal that is no slip: a log that does not go on from what was cosigned. */
  onRefused?: (what: { origin: string; size: number; cosigned_size: number; why: string }) => void;
  disk?: Disk;
}

/** Refused checkpoints that are kept as evidence, at most. */
const MAX_EVIDENCE = 100;

export class Witness {
  readonly #options: WitnessOptions;
  readonly #disk: Disk;
  readonly #known = new Map<string, TreeHead>();
  #queue: Promise<unknown> = Promise.resolve();
  #evidence = 0;

  private constructor(options: WitnessOptions) {
    this.#options = options;
    this.#disk = options.disk ?? DISK;
  }

  /**
   * Opens a witness with what it has cosigned.
   * @throws MeshError `bad_config` when a key is of the wrong kind, or `conflict` when what it has kept cannot be read: it would
   *   forget what it has said. The file system's errors.
   */
  static async open(options: WitnessOptions): Promise<Witness> {
    const witness = new Witness(options);
    if (options.signer.kind !== "cosignature")
      throw new MeshError("bad_config", "the witness's key is a log's; tiermesh witness key makes a witness's");
    for (const log of options.logs) {
      if (log.kind !== "signature")
        throw new MeshError("bad_config", `${log.name}: the key of a witness, not of a log`);
      const file = witness.#file(log.name);
      const note = await witness.#disk.read(file);
      if (note === undefined) continue;
      try {
        witness.#known.set(log.name, openCheckpoint(note, log));
      } catch (error) {
        throw new MeshError("conflict", `${file}: ${MeshError.from(error).message}; restore it`, { cause: error });
      }
    }
    return witness;
  }

  /** Entries of the newest checkpoint that was cosigned, for each log. */
  get sizes(): Record<string, number> {
    return Object.fromEntries(this.#options.logs.map(({ name }) => [name, this.#known.get(name)?.size ?? 0]));
  }

  /** Answers a request; one after the other, so that check and record are one step. Never throws. */
  addCheckpoint(body: string): Promise<Answer> {
    const answer = this.#queue.then(() => this.#add(body)).catch(failed);
    this.#queue = answer;
    return answer;
  }

  async #add(body: string): Promise<Answer> {
    const { checkpoint: note, oldSize, proof } = parseAddCheckpoint(body);
    const origin = textOf(Buffer.from(note)).split("\n", 1)[0] ?? "";
    const log = this.#options.logs.find(({ name }) => name === origin);
    if (log === undefined) return text(404, "this witness does not know the log");
    let checkpoint: Checkpoint;
    try {
      checkpoint = openCheckpoint(Buffer.from(note), log);
    } catch (error) {
      return text(403, MeshError.from(error).message);
    }
    if (oldSize > checkpoint.size) return text(400, "the old size is above the checkpoint's");
    const known = this.#known.get(origin) ?? { size: 0, root: EMPTY_ROOT };
    if (oldSize !== known.size) return conflict(known.size);
    if (checkpoint.size === known.size && !same(checkpoint.root, known.root)) {
      await this.#refuse(checkpoint, known, note, "it has another root than what was cosigned");
      return conflict(known.size);
    }
    const isEmpty = checkpoint.size === 0;
    if (!(isEmpty ? proof.length === 0 : isConsistent(known, checkpoint, proof))) {
      await this.#refuse(checkpoint, known, note, "no proof that it begins with what was cosigned");
      return text(422, "the proof does not lead from the cosigned checkpoint to this one");
    }
    await replaceFiles(this.#disk, new Map([[this.#file(origin), Buffer.from(note)]]));
    this.#known.set(origin, checkpoint);
    return { status: 200, body: signatureLine(textOf(Buffer.from(note)), this.#options.signer), type: "text/plain" };
  }

  /** Keeps what a log has signed and should not have: two histories by one key are a proof against its owner. */
  async #refuse({ origin, root, size }: Checkpoint, known: TreeHead, note: string, why: string): Promise<void> {
    this.#options.onRefused?.({ origin, size, cosigned_size: known.size, why });
    const digits = Buffer.from(root).toString("hex", 0, 8);
    const file = path.join(this.#options.folder, "refused", `${idOf(origin)}-${size}-${digits}`);
    if (this.#evidence >= MAX_EVIDENCE || (await this.#disk.read(file)) !== undefined) return;
    this.#evidence++;
    // A full disk is no reason not to refuse.
    await replaceFiles(this.#disk, new Map([[file, Buffer.from(note)]])).catch(() => undefined);
  }

  #file(origin: string): string {
    return path.join(this.#options.folder, idOf(origin));
  }
}

/** An origin as a file's name. */
function idOf(origin: string): string {
  return sha256(Buffer.from(origin)).toString("hex", 0, 16);
}

function text(status: Answer["status"], why: string): Answer {
  return { status, body: `${why}\n`, type: "text/plain; charset=utf-8" };
}

function conflict(size: number): Answer {
  return { status: 409, body: `${size}\n`, type: SIZE_TYPE };
}

function failed(error: unknown): Answer {
  if (error instanceof MeshError && error.code === "bad_request") return text(400, error.message);
  return text(500, "the witness cannot write down what it cosigns");
}
