import { readdir } from "node:fs/promises";
import path from "node:path";
import { runCommand, type CommandResult } from "../../run-command.ts";
import { CONNECT_LIMIT_MS, isReachable } from "../reachable.ts";
import { compareVersions, findVersion, VERSION_FLOOR } from "../server-version.ts";
import { onPath } from "./path.ts";
import type { Source } from "./source.ts";
import { keepBinary, withScratch } from "./store.ts";

/** apt gives up on a host as quickly as the other sources do. */
const SECONDS = CONNECT_LIMIT_MS / 1000;
const QUICK = [`http::Timeout=${SECONDS}`, `https::Timeout=${SECONDS}`, "Retries=0"].flatMap((option) => [
  "-o",
  `Acquire::${option}`,
]);

const APT_LIMIT_MS = 5 * 60_000;

/**
 * Debian's and Ubuntu's package, checked by apt against the distribution's signatures. The package is downloaded and
 * unpacked into our cache, not installed: installing it would enable and start a system service that listens on every
 * interface, on the very port that the mesh wants.
 */
export const aptSource: Source = {
  name: "apt",
  kind: "fetch",
  advice: "as root on Debian or Ubuntu: apt-get update (the package is then taken from there)",
  async obtain({ env, cacheDir, onProgress }, signal) {
    if (process.platform !== "linux") return { none: "not Debian or Ubuntu" };
    const [apt] = await onPath("apt-get", env, ["/usr/bin"]);
    const [unpack] = await onPath("dpkg-deb", env, ["/usr/bin"]);
    if (apt === undefined || unpack === undefined) return { none: "not Debian or Ubuntu" };
    const plain = { ...env, LC_ALL: "C", DEBIAN_FRONTEND: "noninteractive" };
    const run = (program: string, args: string[], cwd?: string): Promise<CommandResult> =>
      runCommand(program, args, { env: plain, timeoutMs: APT_LIMIT_MS, ...(cwd === undefined ? {} : { cwd }) }, signal);

    const sites = await run(apt, ["indextargets", "--format", "$(SITE)"]);
    const site = sites.stdout.split("\n").find((line) => /^https?:/.test(line));
    const proxied = (await run("apt-config", ["dump", "Acquire::http::Proxy"])).stdout.includes("http");
    if (site !== undefined && !proxied && !(await isReachable(site, env, signal))) {
      return { none: `${new URL(site).host} cannot be reached` };
    }
    let version = await candidate(run);
    if (version === undefined && process.getuid?.() === 0) {
      onProgress("updating apt's package lists");
      await run(apt, ["update", ...QUICK]);
      version = await candidate(run);
    }
    if (version === undefined) return { none: "apt knows no nats-server" };
    if (compareVersions(version, VERSION_FLOOR) < 0)
      return { none: `apt's nats-server is ${version}, older than ${VERSION_FLOOR}` };

    onProgress(`fetching nats-server ${version} with apt`);
    return withScratch(cacheDir, async (scratch) => {
      const fetched = await run(apt, ["download", ...QUICK, "nats-server"], scratch);
      const deb = (await readdir(scratch)).find((name) => name.endsWith(".deb"));
      if (fetched.code !== 0 || deb === undefined) return { none: `apt-get download failed: ${fetched.stderr.trim()}` };
      const folder = path.join(scratch, "out");
      const unpacked = await run(unpack, ["-x", path.join(scratch, deb), folder]);
      if (unpacked.code !== 0) return { none: `the package cannot be unpacked: ${unpacked.stderr.trim()}` };
      const [binary] = await onPath("nats-server", {}, [path.join(folder, "usr/sbin"), path.join(folder, "usr/bin")]);
      return binary === undefined ? { none: "the package holds no nats-server" } : keepBinary(cacheDir, binary, signal);
    });
  },
};

/** The version that apt would fetch, from `apt-cache policy`. */
async function candidate(
  run: (program: string, args: string[]) => Promise<CommandResult>,
): Promise<string | undefined> {
  const policy = await run("apt-cache", ["policy", "nats-server"]);
  const line = /^\s*Candidate: (.*)$/m.exec(policy.stdout)?.[1];
  return line === undefined ? undefined : findVersion(line);
}
