import { readFileSync } from "node:fs";
import { MeshError } from "../../bus-schemas/index.ts";
import { readSignature, type Statement } from "../../service/release-signature.ts";
import { releaseKeyFile, type Place } from "./install.ts";

/** What is signed as something else is not taken for an agent. */
export const PRODUCT = "tiermesh-agent";

/** What a file that may be installed has to be. */
export interface Expected {
  sha256: string;
  /** undefined where only its SHA-256 was given. */
  version: string | undefined;
}

/**
 * What vouches for a new program: a signature by the key that this machine trusts, where it has one, and then nothing less; else the
 * SHA-256 that the administrator names.
 * @param signature text of the signature file, if there is one
 * @throws MeshError `forbidden` when nothing vouches for it, or it was signed for another system; `bad_config` for what is no signature
 */
export function expectedOf(
  { machine, layout }: Place,
  { signature, sha256 }: { signature: string | undefined; sha256: string | undefined },
): Expected {
  const key = pinnedKey(machine.at(releaseKeyFile(layout)));
  if (key === undefined) {
    if (sha256 !== undefined) return { sha256: sha256.toLowerCase(), version: undefined };
    throw new MeshError(
      "forbidden",
      "nothing vouches for this file: name its SHA-256 (--sha256), or let this machine trust a release key (install --release-key)",
      { field: "sha256" },
    );
  }
  if (signature === undefined)
    throw new MeshError("forbidden", "this machine takes signed releases only: name the signature (--signature)", {
      field: "signature",
    });
  const statement = checkStatement(signature, key, { platform: machine.platform, arch: process.arch });
  if (sha256 !== undefined && sha256.toLowerCase() !== statement.sha256)
    throw new MeshError("forbidden", "--sha256 and the signature name different files", { field: "sha256" });
  return statement;
}

/**
 * What the signature says of an agent's program for this system.
 * @throws MeshError `forbidden` when another key made it, or it is for another system; `bad_config` for what is no signature
 */
export function checkStatement(
  signature: string,
  publicKeyPem: string,
  { platform, arch }: { platform: NodeJS.Platform; arch: string },
): Statement {
  const statement = readSignature(signature, publicKeyPem);
  if (statement.product === PRODUCT && statement.platform === platform && statement.arch === arch) return statement;
  throw new MeshError(
    "forbidden",
    `that was signed as ${statement.product} for ${statement.platform} ${statement.arch}, and this machine is ${platform} ${arch}`,
    { field: "signature" },
  );
}

/** The key that this machine trusts, PEM; undefined = none. @throws MeshError `forbidden` when it is there and cannot be read */
export function pinnedKey(file: string): string | undefined {
  try {
    return readFileSync(file, "utf8");
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    // A key that cannot be read must not mean that none is needed.
    throw new MeshError("forbidden", `${file} cannot be read`, { cause });
  }
}
