import { createHash, createHmac, randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { chmod, link, mkdir, open, rm } from "node:fs/promises";
import path from "node:path";
import { MeshError } from "../bus-schemas/index.ts";
import { SALT_BYTES, commitment } from "./commitment.ts";

/** What a subject's salt is used for beside commitments: keys that say nothing of each other. */
const PURPOSES = { job: "tiermesh/job-salt/1\n", pseudonym: "tiermesh/pseudonym/1\n" } as const;
/** Characters of a pseudonym behind its `p-`: 96 bits. */
const PSEUDONYM_CHARS = 16;

/**
 * Salts for commitments of content (ADR 0028): HMAC-SHA-256 of the content by the salt of a subject, a person or a customer. A
 * commitment tells nothing without the salt, not even to who guesses the content; with it, that this was the content. Where
 * the salt is destroyed, the commitments in the log stay and say nothing any more: the log's tree is as it was.
 * One file for each subject, readable by its owner only.
 */
export class SaltKeeper {
  readonly #folder: string;

  /** @param folder made when the first salt is */
  constructor(folder: string) {
    this.#folder = folder;
  }

  /**
   * The commitment of content; the subject's salt is made when there is none.
   * @throws MeshError `bad_config` when the salt's file is damaged; the file system's errors
   */
  async commit(subject: string, content: Uint8Array): Promise<string> {
    return commitment(this.#read(subject) ?? (await this.#make(subject)), content);
  }

  /** Whether content is what was committed to; undefined when there is no salt (any more): then nobody can tell. */
  async matches(subject: string, content: Uint8Array, said: string): Promise<boolean | undefined> {
    const salt = this.#read(subject);
    return salt === undefined ? undefined : commitment(salt, content) === said;
  }

  /**
   * The salt of one job of a subject, base64url: whoever gets it learns nothing of other jobs, and it is gone with the subject's.
   * @throws as `commit`
   */
  async jobSalt(subject: string, jobId: string): Promise<string> {
    return derived(this.#read(subject) ?? (await this.#make(subject)), PURPOSES.job + jobId);
  }

  /** The same, where the subject's salt is there (still). */
  async findJobSalt(subject: string, jobId: string): Promise<Buffer | undefined> {
    const salt = this.#read(subject);
    return salt === undefined ? undefined : Buffer.from(derived(salt, PURPOSES.job + jobId), "base64url");
  }

  /**
   * What stands for a subject where its name must not: the same for ever, until its salt is erased; then nobody can tell whose it was.
   * @throws as `commit`
   */
  async pseudonym(subject: string): Promise<string> {
    return pseudonymBy(this.#read(subject) ?? (await this.#make(subject)));
  }

  /** The same, where the subject's salt is there (still). */
  async findPseudonym(subject: string): Promise<string | undefined> {
    const salt = this.#read(subject);
    return salt === undefined ? undefined : pseudonymBy(salt);
  }

  /**
   * Destroys the salt of a subject. What a file system, an SSD or a backup has of it besides is not in our power.
   * @returns false when there was none
   */
  async erase(subject: string): Promise<boolean> {
    const file = this.#file(subject);
    let handle;
    try {
      handle = await open(file, "r+");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return false;
      throw error;
    }
    try {
      // Over the old bytes, where a file system writes in place.
      await handle.write(randomBytes(2 * SALT_BYTES), 0, 2 * SALT_BYTES, 0);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rm(file);
    await syncFolder(this.#folder);
    return true;
  }

  #read(subject: string): Buffer | undefined {
    let text: string;
    try {
      // Each job reads it anew, so that an erasure counts at once. Not by a promise: for 65 bytes that costs twenty times as much.
      text = readFileSync(this.#file(subject), "latin1");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
      throw error;
    }
    if (!/^[0-9a-f]{64}\n$/.test(text))
      throw new MeshError("bad_config", `${this.#file(subject)}: is no salt; restore it, or erase the subject`);
    return Buffer.from(text, "hex");
  }

  async #make(subject: string): Promise<Buffer> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    await chmod(this.#folder, 0o700);
    const file = this.#file(subject);
    const unfinished = `${file}.${process.pid}-${randomBytes(4).toString("hex")}.tmp`;
    const handle = await open(unfinished, "wx", 0o600);
    try {
      await handle.writeFile(`${randomBytes(SALT_BYTES).toString("hex")}\n`);
      await handle.sync();
    } finally {
      await handle.close();
    }
    try {
      // Unlike a rename this fails where another process was first: a subject has one salt.
      await link(unfinished, file);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    } finally {
      await rm(unfinished, { force: true });
    }
    await syncFolder(this.#folder);
    const salt = this.#read(subject);
    if (salt === undefined) throw new MeshError("conflict", "the salt was erased while it was made");
    return salt;
  }

  /** Named by the subject's hash: a name may hold anything. */
  #file(subject: string): string {
    return path.join(this.#folder, createHash("sha256").update(subject).digest("hex").slice(0, 32));
  }
}

function pseudonymBy(salt: Uint8Array): string {
  return `p-${derived(salt, PURPOSES.pseudonym).slice(0, PSEUDONYM_CHARS)}`;
}

function derived(salt: Uint8Array, purpose: string): string {
  return createHmac("sha256", salt).update(purpose).digest("base64url");
}

/** Makes the names in a folder durable. Windows has no such call for folders, and needs none. */
async function syncFolder(folder: string): Promise<void> {
  if (process.platform === "win32") return;
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
