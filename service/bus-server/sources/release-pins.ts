/** One official release archive. */
export interface ReleasePin {
  version: string;
  /** File name on the release page. */
  archive: string;
  /** SHA-256 of the archive, lower-case hex. */
  sha256: string;
}

/**
 * The official archives that we can vouch for, by `<process.platform>-<process.arch>`.
 *
 * Where the hashes are from: the vendor's own image recipes, github.com/nats-io/nats-docker at commit
 * 629985321b0b00d2c39c853782c776f91f3a3189 (2.15.x/alpine3.22/Dockerfile and
 * 2.15.x/windowsservercore-ltsc2025/Dockerfile). That is 2.15.0, the newest whose hashes could be had without trusting
 * the same server for archive and hash (a SHA256SUMS file fetched beside an archive pins nothing); `go install` gives
 * PINNED_VERSION. The recipes hold no hash for macOS or Windows on ARM, so those platforms have no entry: they are
 * served by the other sources. To move on: take the hashes from a newer commit there, and change both.
 */
export const RELEASE_PINS: Readonly<Record<string, ReleasePin>> = {
  "linux-x64": {
    version: "2.15.0",
    archive: "nats-server-v2.15.0-linux-amd64.tar.gz",
    sha256: "5d2c51caca950333aba84911df7d377f826f3a59ec36061c6539105084f65c92",
  },
  "linux-arm64": {
    version: "2.15.0",
    archive: "nats-server-v2.15.0-linux-arm64.tar.gz",
    sha256: "cdc208f5a3f42963a52b6ab06ef65626bb870315dc936e26ba571780c6351112",
  },
  "win32-x64": {
    version: "2.15.0",
    archive: "nats-server-v2.15.0-windows-amd64.zip",
    sha256: "2d0861dc2ca3567d17f7d19611d7b346cc2ccbd7086a0a77cc957a2c71663200",
  },
};
