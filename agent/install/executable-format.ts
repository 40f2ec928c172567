import { open } from "node:fs/promises";
import { MeshError } from "../../bus-schemas/index.ts";

/** For which system a program is, as Node names platform and processor. */
export interface ProgramKind {
  platform: "linux" | "darwin" | "win32";
  arch: string;
}

/** Headers are in the first kilobytes; a Windows program's second one begins where the first says. */
const HEAD_BYTES = 4096;
/** e_machine of ELF (System V ABI, gABI). */
const ELF_MACHINES: Record<number, string> = { 0x3e: "x64", 0xb7: "arm64" };
/** cputype of Mach-O (mach/machine.h). */
const MACHO_CPUS: Record<number, string> = { 0x01000007: "x64", 0x0100000c: "arm64" };
/** Machine of the COFF header (PE format). */
const PE_MACHINES: Record<number, string> = { 0x8664: "x64", 0xaa64: "arm64" };

/** Reads it from the headers of ELF, Mach-O (one processor, 64 bits) or PE; undefined for anything else. */
export function programKind(head: Buffer): ProgramKind | undefined {
  if (head.length < 64) return undefined;
  if (head.readUInt32BE(0) === 0x7f454c46 && head[4] === 2 && head[5] === 1)
    return kind("linux", ELF_MACHINES[head.readUInt16LE(18)]);
  if (head.readUInt32LE(0) === 0xfeedfacf) return kind("darwin", MACHO_CPUS[head.readUInt32LE(4)]);
  if (head.toString("latin1", 0, 2) !== "MZ") return undefined;
  const at = head.readUInt32LE(0x3c);
  if (at + 6 > head.length || head.toString("latin1", at, at + 4) !== "PE\0\0") return undefined;
  return kind("win32", PE_MACHINES[head.readUInt16LE(at + 4)]);
}

/** @throws MeshError `bad_config` when the file is no program for this system, saying for which it is */
export async function checkFormat(file: string, platform: NodeJS.Platform, arch: string): Promise<void> {
  const handle = await open(file, "r").catch((cause: NodeJS.ErrnoException) => {
    throw new MeshError("bad_config", `${file} cannot be read (${cause.code ?? "?"})`, { field: "from", cause });
  });
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(HEAD_BYTES), 0, HEAD_BYTES, 0);
    const found = programKind(buffer.subarray(0, bytesRead));
    if (found?.platform === platform && found.arch === arch) return;
    const is = found === undefined ? "no program that we know" : `a program for ${found.platform} ${found.arch}`;
    throw new MeshError(
      "bad_config",
      `${file} is ${is}, and this machine is ${platform} ${arch}; nothing was changed`,
      {
        field: "from",
      },
    );
  } finally {
    await handle.close();
  }
}

function kind(platform: ProgramKind["platform"], arch: string | undefined): ProgramKind | undefined {
  return arch === undefined ? undefined : { platform, arch };
}
