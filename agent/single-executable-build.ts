import { getAsset } from "node:sea";
import { z } from "zod";
import { isSingleExecutable } from "./entries.ts";

/** Says of what a single executable was made; written by scripts/single-executable.ts. */
export const BUILD_ASSET = "build.json";

/** WinSW inside a program for Windows, if it was there when it was built. */
export const WRAPPER_ASSET = "winsw.exe";

export const BuildInfo = z.object({
  version: z.string(),
  platform: z.string(),
  arch: z.string(),
  node: z.string(),
  /** Of the commit that it was made of, epoch milliseconds. */
  source_unix_ms: z.number(),
});

/** When the source of this program was written, epoch milliseconds; undefined when it runs from source. */
export function builtAtMs(): number | undefined {
  return isSingleExecutable ? BuildInfo.parse(JSON.parse(getAsset(BUILD_ASSET, "utf8"))).source_unix_ms : undefined;
}
