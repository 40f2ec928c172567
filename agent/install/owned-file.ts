import { constants } from "node:fs";
import { chmod, open, rm, type FileHandle } from "node:fs/promises";
import { MeshError } from "../../bus-schemas/index.ts";

/** A file is copied in pieces of this size, bytes. */
const PIECE_BYTES = 1024 ** 2;
/** Neither a link is followed, nor is a pipe waited for. Windows has neither flag, nor the second kind of file. */
const FLAGS = constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0);

/**
 * For root, of files in a folder of another account: whatever that account puts there (a link, also in place of a folder above; a pipe; a
 * device), only a plain file of its own is read, and no more of it than was expected. undefined owner: systems without such ids.
 * @throws MeshError `forbidden` for anything else, `not_found` when there is none
 */
async function openOwned(
  file: string,
  owner: number | undefined,
  maxBytes: number,
): Promise<{ handle: FileHandle; size: number }> {
  let handle: FileHandle;
  try {
    handle = await open(file, FLAGS);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === "ENOENT") throw new MeshError("not_found", `there is no ${file}`, { cause });
    throw new MeshError("forbidden", `${file} is no plain file (${code ?? "?"})`, { cause });
  }
  try {
    const found = await handle.stat();
    if (!found.isFile() || (owner !== undefined && found.uid !== owner))
      throw new MeshError("forbidden", `${file} is no plain file of the agent's account`);
    if (found.size > maxBytes) throw new MeshError("forbidden", `${file} is larger than ${maxBytes} bytes`);
    return { handle, size: found.size };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** Its text. @throws MeshError as `openOwned` says */
export async function readOwned(file: string, owner: number | undefined, maxBytes: number): Promise<string> {
  const { handle } = await openOwned(file, owner, maxBytes);
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(maxBytes), 0, maxBytes, 0);
    return buffer.toString("utf8", 0, bytesRead);
  } finally {
    await handle.close();
  }
}

/**
 * Copies it to a file that nobody else can read or write. What happens to the original from here on does not matter any more.
 * @throws MeshError as `openOwned` says, and when it has not exactly `bytes`
 */
export async function copyOwned(file: string, to: string, owner: number | undefined, bytes: number): Promise<void> {
  const { handle, size } = await openOwned(file, owner, bytes);
  try {
    if (size !== bytes)
      throw new MeshError("forbidden", `${file} has ${size} bytes, not the ${bytes} that were signed`);
    await rm(to, { force: true });
    const copy = await open(to, "wx", 0o600);
    try {
      const piece = Buffer.alloc(Math.min(PIECE_BYTES, bytes));
      for (let done = 0; done < bytes;) {
        const { bytesRead } = await handle.read(piece, 0, Math.min(piece.length, bytes - done), done);
        if (bytesRead === 0) throw new MeshError("forbidden", `${file} has become shorter while it was read`);
        await copy.writeFile(piece.subarray(0, bytesRead));
        done += bytesRead;
      }
      await copy.sync();
    } finally {
      await copy.close();
    }
    await chmod(to, 0o600);
  } catch (error) {
    await rm(to, { force: true });
    throw error;
  } finally {
    await handle.close();
  }
}
