import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";
import { readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { MeshError } from "../../bus-schemas/index.ts";

const PEM_CERTIFICATE = /-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g;

/** How an error about a file reads. */
export interface FileRole {
  /** The setting that names the file. */
  field?: string;
  /** What a person should do with it. */
  todo?: string;
}

/** The text of a file, or undefined when it is not there. @throws MeshError `bad_config` when it cannot be read. */
export async function readIfThere(file: string, field?: string): Promise<string | undefined> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    const { code = "unknown reason" } = error as NodeJS.ErrnoException;
    if (code === "ENOENT") return undefined;
    throw new MeshError("bad_config", `${file} cannot be read (${code})`, { field, cause: error });
  }
}

/** The certificates of a PEM text, in order. @throws MeshError `bad_config` naming the file when there is none or one is broken. */
export function certificatesIn(
  file: string,
  text: string,
  { field, todo }: FileRole = {},
): [X509Certificate, ...X509Certificate[]] {
  try {
    const [first, ...others] = (text.match(PEM_CERTIFICATE) ?? []).map((pem) => new X509Certificate(pem));
    if (first !== undefined) return [first, ...others];
  } catch {
    // Said below: the parser's own words help nobody.
  }
  throw new MeshError("bad_config", `${file} holds no readable certificate in PEM${also(todo)}`, { field });
}

/** The private key of a PEM text. @throws MeshError `bad_config` naming the file; its content is not quoted. */
export function privateKeyIn(file: string, text: string, { field, todo }: FileRole = {}): KeyObject {
  try {
    return createPrivateKey(text);
  } catch {
    // Not chained: what a parser says may quote its input.
    const why = /ENCRYPTED/.test(text)
      ? "holds an encrypted key, which nats-server cannot read; decrypt it (`openssl pkey -in … -out …`)"
      : "holds no readable private key in PEM";
    throw new MeshError("bad_config", `${file} ${why}${also(todo)}`, { field });
  }
}

/** A warning when others than its owner may read the key file, else undefined. Windows has no such mode. */
export async function looseKeyMode(file: string): Promise<string | undefined> {
  if (process.platform === "win32") return undefined;
  const { mode } = await stat(file);
  return (mode & 0o077) === 0 ? undefined : `${file} can be read by others than its owner; \`chmod 600\` it`;
}

/** Writes a file whole or not at all: readers see the old content or the new. */
export async function replaceFile(file: string, content: string, mode: number): Promise<void> {
  const fresh = `${file}.new`;
  // The mode counts only for a new file, and an interrupted run may have left one.
  await rm(fresh, { force: true });
  await writeFile(fresh, content, { mode, flag: "wx", flush: true });
  await rename(fresh, file);
}

function also(todo: string | undefined): string {
  return todo === undefined ? "" : `; ${todo}`;
}
