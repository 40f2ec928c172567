import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { getAsset, getAssetKeys } from "node:sea";
import { isSingleExecutable } from "../../agent/entries.ts";
import { PACKAGED_EXECUTABLE, PACKAGED_UNIT } from "../../agent/install/systemd.ts";
import { WRAPPER_ASSET } from "../../agent/single-executable-build.ts";
import { wrapperFile } from "../../agent/install/windows-service.ts";
import type { Place } from "../../agent/install/install.ts";
import { layoutOf } from "../../agent/install/layout.ts";
import { thisMachine } from "../../agent/install/machine.ts";
import { serviceManagerOf } from "../../agent/install/service-managers.ts";
import { MeshError } from "../../bus-schemas/index.ts";
import type { Environment } from "../../service/config.ts";

const ROOT = path.join(import.meta.dirname ?? "", "..", "..");

/** This machine, or the image of one in the folder `root`. */
export function placeOf(root = "", platform: NodeJS.Platform = process.platform): Place {
  const machine = thisMachine(root === "" ? "" : path.resolve(root), platform);
  const layout = layoutOf(platform, machine.env);
  const packaged = platform === "linux" && existsSync(machine.at(PACKAGED_UNIT));
  return {
    machine,
    layout: packaged ? { ...layout, executable: PACKAGED_EXECUTABLE } : layout,
    manager: serviceManagerOf(machine),
  };
}

/** The environment in which commands find the installed agent, unless the caller's names another one. */
export function installedEnv({ machine, layout }: Place): NodeJS.ProcessEnv {
  const own = (machine.env["TIERMESH_HOME"] ?? "") !== "" || !existsSync(layout.stateDir);
  if (own) return machine.env;
  return {
    ...machine.env,
    TIERMESH_HOME: layout.stateDir,
    TIERMESH_CACHE_DIR: layout.cacheDir,
    ...(machine.platform === "darwin" ? { TIERMESH_RUN_DIR: layout.runDir } : {}),
  };
}

/**
 * The file that is installed: this program, or from source the one that was built.
 * @throws MeshError `bad_config` when there is none
 */
export function executableToInstall(named: string | undefined, env: Environment): string {
  if (named !== undefined) return path.resolve(named);
  if (isSingleExecutable) return process.execPath;
  const built = path.join(
    ROOT,
    "out",
    `tiermesh-agent-${process.platform}-${process.arch}${env["OS"] === "Windows_NT" ? ".exe" : ""}`,
  );
  if (existsSync(built)) return built;
  throw new MeshError(
    "bad_config",
    "what is installed is the single executable: make it with `npm run build:agent`, or name it with --executable",
    { field: "executable" },
  );
}

/**
 * On Windows the program that runs others as services, WinSW: the one that is named, that travels inside, or that lies beside the program.
 * undefined elsewhere, and where it is installed already.
 * @throws MeshError `bad_config` when there is none
 */
export function wrapperToInstall(
  named: string | undefined,
  executable: string,
  { machine, layout }: Place,
): string | undefined {
  if (machine.platform !== "win32") return undefined;
  if (named !== undefined) return path.resolve(named);
  if (isSingleExecutable && getAssetKeys().includes(WRAPPER_ASSET)) {
    const folder = mkdtempSync(path.join(tmpdir(), "tiermesh-wrapper-"));
    process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
    const file = path.join(folder, WRAPPER_ASSET);
    writeFileSync(file, Buffer.from(getAsset(WRAPPER_ASSET)));
    return file;
  }
  const beside = path.join(path.dirname(executable), "WinSW-x64.exe");
  if (existsSync(beside)) return beside;
  if (existsSync(machine.at(wrapperFile(layout)))) return undefined;
  throw new MeshError(
    "bad_config",
    "Windows runs services through WinSW: put WinSW-x64.exe (github.com/winsw/winsw) beside this program, or name it with --wrapper",
    { field: "wrapper" },
  );
}
