import { mkdir } from "node:fs/promises";
import path from "node:path";
import type { Environment } from "../../config.ts";
import { runCommand } from "../../run-command.ts";
import { isReachable } from "../reachable.ts";
import { download } from "./download.ts";
import { RELEASE_PINS, type ReleasePin } from "./release-pins.ts";
import type { Source } from "./source.ts";
import { BINARY_NAME, keepBinary, withScratch } from "./store.ts";

const RELEASES = "https://github.com/nats-io/nats-server/releases/download";

/**
 * The official release archive, used only when its SHA-256 is the pinned one.
 * `baseUrl` and `pins` can be others in tests, and for a company's own mirror.
 */
export function releaseSource(
  baseUrl: string = RELEASES,
  pins: Readonly<Record<string, ReleasePin>> = RELEASE_PINS,
  target: string = `${process.platform}-${process.arch}`,
): Source {
  return {
    name: "release",
    kind: "fetch",
    advice: `download nats-server from ${RELEASES.replace(/\/download$/, "")} and put it on the PATH`,
    async obtain({ env, cacheDir, onProgress }, signal) {
      const pin = pins[target];
      if (pin === undefined) return { none: `no archive with a known SHA-256 for ${target}` };
      if (!(await isReachable(baseUrl, env, signal))) return { none: `${new URL(baseUrl).host} cannot be reached` };
      const url = `${baseUrl}/v${pin.version}/${pin.archive}`;
      onProgress(`downloading nats-server ${pin.version} from ${new URL(baseUrl).host}`);
      return withScratch(cacheDir, async (scratch) => {
        const archive = path.join(scratch, pin.archive);
        const sha256 = await download(url, archive, env, signal);
        if (sha256 !== pin.sha256) {
          return { none: `${pin.archive} has SHA-256 ${sha256}, not the pinned ${pin.sha256}; it was thrown away` };
        }
        const folder = path.join(scratch, "out");
        await mkdir(folder);
        const unpacked = await runCommand(
          tarProgram(env),
          ["-xf", archive, "-C", folder],
          { timeoutMs: 60_000 },
          signal,
        );
        if (unpacked.code !== 0) return { none: `${pin.archive} cannot be unpacked: ${unpacked.stderr.trim()}` };
        const inside = path.join(folder, pin.archive.replace(/\.(tar\.gz|zip)$/, ""), BINARY_NAME);
        return keepBinary(cacheDir, inside, signal);
      });
    },
  };
}

/** Windows 10 and later have a tar that also unpacks zip; one from Git on the PATH does not, so name it in full. */
function tarProgram(env: Environment): string {
  if (process.platform !== "win32") return "tar";
  return path.win32.join(env["SystemRoot"] ?? "C:\\Windows", "System32", "tar.exe");
}
