import { constants } from "node:fs";
import { access } from "node:fs/promises";
import path from "node:path";
import type { Environment } from "../../config.ts";
import type { Source } from "./source.ts";
import { BINARY_NAME, checkBinary } from "./store.ts";

/** Where packages put servers that an ordinary user's PATH may lack: Debian uses /usr/sbin, Homebrew /opt/homebrew. */
const USUAL_FOLDERS = process.platform === "win32" ? [] : ["/usr/sbin", "/usr/local/bin", "/opt/homebrew/bin"];

/** The programs called `name` on the PATH and then in `more`, best first. */
export async function onPath(name: string, env: Environment, more: readonly string[] = []): Promise<string[]> {
  const variable = env["PATH"] ?? env["Path"] ?? "";
  const found: string[] = [];
  for (const folder of [...variable.split(path.delimiter), ...more]) {
    if (folder === "" || !path.isAbsolute(folder)) continue;
    const file = path.join(folder, name);
    const runs = await access(file, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (runs && !found.includes(file)) found.push(file);
  }
  return found;
}

/** A nats-server on the PATH or where packages install it; the first that is new enough. */
export const pathSource: Source = {
  name: "PATH",
  kind: "look",
  advice: "install nats-server with a package manager (brew install nats-server, scoop, pacman, …)",
  async obtain({ env }, signal) {
    const reasons: string[] = [];
    for (const binary of await onPath(BINARY_NAME, env, USUAL_FOLDERS)) {
      const checked = await checkBinary(binary, signal);
      if (!("none" in checked)) return checked;
      reasons.push(checked.none);
    }
    return reasons.length === 0 ? { none: "no nats-server on the PATH" } : { none: reasons.join("; "), notable: true };
  },
};
