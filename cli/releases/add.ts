import { existsSync, readFileSync, statSync } from "node:fs";
import { open } from "node:fs/promises";
import path from "node:path";
import { PRODUCT } from "../../agent/install/release-check.ts";
import { MeshError, Release, parseOrThrow, type ReleaseFile } from "../../bus-schemas/index.ts";
import { fileDigest, readSignature, readUnverified } from "../../service/release-signature.ts";
import type { ReleaseStream } from "../../service/release-stream.ts";

/** A program on this machine's disk, and what its signature says of it. */
export interface SignedFile extends ReleaseFile {
  path: string;
  version: string;
}

/**
 * A program with its signature file beside it, `FILE.sig`.
 * @param publicKeyPem checks the signature, too; the nodes do so in any case, by the key that each trusts
 * @throws MeshError `bad_config` when a file is missing or is not the signed one, `forbidden` when another key signed it
 */
export async function readSignedFile(file: string, publicKeyPem: string | undefined): Promise<SignedFile> {
  const bad = (why: string, cause?: unknown) =>
    new MeshError("bad_config", `${file}: ${why}`, { field: "file", cause });
  if (!existsSync(file)) throw bad("there is no such file");
  if (!existsSync(`${file}.sig`))
    throw bad(`${path.basename(file)}.sig is not beside it; sign it with npm run build:agent -- --sign KEY`);
  const signature = readFileSync(`${file}.sig`, "utf8");
  const signed = publicKeyPem === undefined ? readUnverified(signature) : readSignature(signature, publicKeyPem);
  const { arch, bytes, platform, product, sha256, version } = signed;
  if (product !== PRODUCT) throw bad(`it is signed as ${product}, which is no agent`);
  if (statSync(file).size !== bytes || (await fileDigest(file)) !== sha256)
    throw bad("it is not the file that was signed; its SHA-256 differs");
  return { path: file, version, system: `${platform}-${arch}`, bytes, sha256, signature };
}

/**
 * Brings a release to the bus: the bytes first, then the word that it is there. Systems that it has already stay, so one may be added later.
 * @throws MeshError `bad_config` for files of different versions, `conflict` when the version is there with another program for a system
 */
export async function addRelease(
  stream: ReleaseStream,
  files: readonly SignedFile[],
  by: string,
  onProgress: (file: SignedFile, doneBytes: number) => void,
): Promise<Release> {
  const [first] = files;
  if (first === undefined) throw new MeshError("bad_config", "name the programs of the release", { field: "file" });
  const other = files.find(({ version }) => version !== first.version);
  if (other !== undefined)
    throw new MeshError("bad_config", `${other.path} is ${other.version}, and ${first.path} is ${first.version}`, {
      field: "file",
    });
  const there = (await stream.list()).find(({ version }) => version === first.version)?.files ?? [];
  const all = new Map(there.map((file) => [file.system, file]));
  for (const { bytes, sha256, signature, system, version } of files) {
    const known = all.get(system);
    if (known !== undefined && known.sha256 !== sha256)
      throw new MeshError(
        "conflict",
        `${version} is on the bus with another program for ${system}; take it away first (tiermesh release rm ${version}), or give this one a version of its own`,
        { field: "file" },
      );
    all.set(system, { system, bytes, sha256, signature });
  }
  const release = parseOrThrow(
    Release,
    { v: 1, version: first.version, files: [...all.values()], added_unix_ms: Date.now(), by },
    "bad_config",
  );
  for (const file of files) {
    if (await stream.has(file)) continue;
    const handle = await open(file.path, "r");
    try {
      const read = async (position: number, length: number) => {
        const { buffer, bytesRead } = await handle.read(Buffer.alloc(length), 0, length, position);
        return buffer.subarray(0, bytesRead);
      };
      await stream.put(file, read, (done) => onProgress(file, done));
    } finally {
      await handle.close();
    }
  }
  // Somebody may have taken them away meanwhile: a release without its bytes is none.
  for (const file of files)
    if (!(await stream.has(file)))
      throw new MeshError("conflict", "its bytes were taken away meanwhile (tiermesh release rm); add it again");
  await stream.announce(release);
  return release;
}
