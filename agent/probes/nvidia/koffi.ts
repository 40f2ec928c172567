import { createHash } from "node:crypto";
import { chmodSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { getAsset, getAssetKeys } from "node:sea";
import { isSingleExecutable } from "../../entries.ts";
import { StepError } from "./step.ts";

/** What is used of koffi. */
export type Koffi = Pick<typeof import("koffi"), "load">;

/** Its binary in a single executable; one for a system that koffi has none for lacks it. */
export const KOFFI_ASSET = "koffi.node";

let native: Koffi | undefined;

/**
 * koffi: the package, or in a single executable its binary alone. The system loads a binary only from a file, so it is written into
 * `nativeDir` once, and looked at again before each load: what somebody has changed there is written anew.
 * @throws StepError `absent` where there is none for this system
 */
export async function loadKoffi(nativeDir: string): Promise<Koffi> {
  try {
    if (!isSingleExecutable) return await import("koffi");
    native ??= loadNative(nativeDir, Buffer.from(getAsset(KOFFI_ASSET)));
    return native;
  } catch (cause) {
    const why =
      isSingleExecutable && getAssetKeys().includes(KOFFI_ASSET)
        ? "koffi's binary does not load"
        : "koffi has no binary for this system";
    throw new StepError(
      "absent",
      cause instanceof Error && isSingleExecutable ? `${why} (${cause.message.split("\n")[0] ?? ""})` : why,
    );
  }
}

/** Loads koffi's binary by way of a file in `nativeDir`. @throws what the system's loader says */
export function loadNative(nativeDir: string, bytes: Buffer): Koffi {
  const module = { exports: {} };
  process.dlopen(module, writtenOnce(nativeDir, bytes));
  return module.exports as Koffi;
}

/** @returns the file, whose content is `bytes` */
export function writtenOnce(dir: string, bytes: Buffer): string {
  const digest = sha256(bytes);
  const file = join(dir, `koffi-${digest.slice(0, 16)}.node`);
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  chmodSync(dir, 0o700);
  if (digestOf(file) === digest) return file;
  const fresh = `${file}.${process.pid}.new`;
  writeFileSync(fresh, bytes, { mode: 0o500, flag: "w" });
  renameSync(fresh, file);
  return file;
}

function digestOf(file: string): string | undefined {
  try {
    return sha256(readFileSync(file));
  } catch {
    return undefined;
  }
}

function sha256(bytes: Buffer): string {
  return createHash("sha256").update(bytes).digest("hex");
}
