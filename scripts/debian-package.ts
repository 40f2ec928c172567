import { execFileSync } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { gzipSync } from "node:zlib";
import { layoutOf } from "../agent/install/layout.ts";
import { PACKAGED_EXECUTABLE, PACKAGED_UNIT, systemdUnit } from "../agent/install/systemd.ts";
import { ROOT } from "./agent-bundle.ts";

/** Debian's names of processors. */
const ARCHITECTURES: Record<string, string> = { x64: "amd64", arm64: "arm64" };
const NAME = "tiermesh-agent";

export interface PackageOptions {
  /** The single executable. */
  program: string;
  version: string;
  arch: string;
  out: string;
  /** Of every file inside, epoch seconds. */
  timeSeconds: number;
}

/**
 * The agent as a Debian package for servers (deb(5), deb-control(5)): the program, its unit, and scripts that do what `install` and
 * `uninstall` do. Needs GNU tar, and nothing of Debian's. @returns its file
 */
export function buildDebianPackage({ program, version, arch, out, timeSeconds }: PackageOptions): string {
  const scratch = mkdtempSync(path.join(tmpdir(), "tiermesh-deb-"));
  try {
    const data = path.join(scratch, "data");
    const put = (file: string, text: string, mode = 0o644) => write(path.join(data, file), text, mode);
    mkdirSync(path.join(data, path.dirname(PACKAGED_EXECUTABLE)), { recursive: true });
    copyFileSync(program, path.join(data, PACKAGED_EXECUTABLE));
    chmodSync(path.join(data, PACKAGED_EXECUTABLE), 0o755);
    const layout = { ...layoutOf("linux"), executable: PACKAGED_EXECUTABLE };
    const unit = systemdUnit({ layout, profile: "server" }, []);
    put(PACKAGED_UNIT, unit.replace(/^#.*\n/, `# Of the package ${NAME}. For changes: systemctl edit ${NAME}\n`));
    put(`/usr/share/doc/${NAME}/copyright`, readFileSync(path.join(ROOT, "LICENSE"), "utf8"));

    const control = path.join(scratch, "control");
    const kilobytes = Math.ceil(statSync(program).size / 1024);
    write(path.join(control, "control"), controlFile(version, arch, kilobytes), 0o644);
    for (const [name, text] of Object.entries(scripts(layout)))
      write(path.join(control, name), `#!/bin/sh\nset -e\n${text}`, 0o755);

    const debian = debianVersion(version);
    const file = path.join(out, `${NAME}_${debian}_${ARCHITECTURES[arch] ?? arch}.deb`);
    const members: [string, Buffer][] = [
      ["debian-binary", Buffer.from("2.0\n")],
      ["control.tar.gz", archive(control, timeSeconds)],
      ["data.tar.gz", archive(data, timeSeconds)],
    ];
    writeFileSync(file, ar(members, timeSeconds));
    return file;
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** A pre-release comes before its release there when it is written with `~` (deb-version(7)). */
export function debianVersion(version: string): string {
  return version.replace("-", "~");
}

function controlFile(version: string, arch: string, kilobytes: number): string {
  // The libraries that Node is linked with; it is built for glibc 2.28.
  return `Package: ${NAME}
Version: ${debianVersion(version)}
Architecture: ${ARCHITECTURES[arch] ?? arch}
Maintainer: Tiermesh <noreply@tiermesh.invalid>
Installed-Size: ${kilobytes}
Depends: libc6 (>= 2.28), libstdc++6, passwd
Section: net
Priority: optional
Homepage: https://github.com/tiermesh/tiermesh
Description: runs AI jobs of a company's mesh on this machine
 The agent of Tiermesh as a service. It takes jobs once the machine has
 joined a mesh: tiermesh-agent join TOKEN
`;
}

function scripts({
  account,
  stateDir,
  cacheDir,
  configDir,
  service,
}: ReturnType<typeof layoutOf>): Record<string, string> {
  const dropIn = `/etc/systemd/system/${service}.service.d`;
  return {
    postinst: `case "$1" in configure)
  getent passwd ${account} >/dev/null || useradd --system --user-group --no-create-home --home-dir ${stateDir} --shell /usr/sbin/nologin ${account}
  install -d -m 0755 ${configDir}
  install -d -m 0700 -o ${account} -g ${account} ${stateDir} ${cacheDir}
  groups=
  for group in video render; do if getent group $group >/dev/null; then groups="$groups $group"; fi; done
  if [ -n "$groups" ]; then
    install -d -m 0755 ${dropIn}
    printf '[Service]\\nSupplementaryGroups=%s\\n' "\${groups# }" > ${dropIn}/gpu-groups.conf
  fi
  if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
  # Who has switched it off finds it off after an upgrade.
  if [ -z "$2" ]; then systemctl enable ${service}.service; fi
  if [ -d /run/systemd/system ]; then
    if [ -n "$2" ]; then systemctl try-restart ${service}.service; else systemctl start ${service}.service; fi
  fi
esac
`,
    prerm: `if [ "$1" = remove ]; then
  if [ -d /run/systemd/system ]; then systemctl stop ${service}.service; fi
  systemctl disable ${service}.service
fi
`,
    postrm: `if [ "$1" = purge ]; then
  rm -rf ${stateDir} ${cacheDir} ${dropIn}
  rm -f ${configDir}/agent.env ${configDir}/release.pub ${configDir}/install.json
  rmdir --ignore-fail-on-non-empty ${configDir} 2>/dev/null || true
  if getent passwd ${account} >/dev/null; then userdel ${account}; fi
fi
if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
`,
  };
}

/** A tar of the folder's content, everything root's, the same each time. */
function archive(folder: string, timeSeconds: number): Buffer {
  const flags = ["--sort=name", "--owner=0", "--group=0", "--numeric-owner", `--mtime=@${timeSeconds}`, "--format=gnu"];
  const tar = execFileSync("tar", [...flags, "-C", folder, "-cf", "-", "."], { maxBuffer: 1024 ** 3 });
  return gzipSync(tar, { level: 6 });
}

/** The common ar format (ar(5)): a header of 60 bytes before each member, which begins at an even byte. */
export function ar(members: readonly (readonly [string, Buffer])[], timeSeconds: number): Buffer {
  const parts = members.flatMap(([name, content]) => [
    Buffer.from(
      `${name.padEnd(16)}${String(timeSeconds).padEnd(12)}${"0".padEnd(6)}${"0".padEnd(6)}${"100644".padEnd(8)}${String(content.length).padEnd(10)}\`\n`,
    ),
    content,
    Buffer.from(content.length % 2 === 0 ? "" : "\n"),
  ]);
  return Buffer.concat([Buffer.from("!<arch>\n"), ...parts]);
}

function write(file: string, text: string, mode: number): void {
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, text);
  // Whatever the umask of who builds.
  chmodSync(file, mode);
}
