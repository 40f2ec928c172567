import { homedir } from "node:os";
import path from "node:path";

/** Where a path function looks; the defaults are this process's own. */
export interface PathSources {
  env?: Readonly<Record<string, string | undefined>>;
  platform?: NodeJS.Platform;
  home?: string;
}

/**
 * Folder for what can be fetched or built again, such as a downloaded nats-server. `TIERMESH_CACHE_DIR` wins; else
 * the platform's own place: XDG_CACHE_HOME or ~/.cache on Linux, ~/Library/Caches on macOS, %LOCALAPPDATA% on Windows.
 * Nothing is created.
 */
export function cacheDir(sources: PathSources = {}): string {
  const { env, platform, home, paths } = resolve(sources);
  const own = set(env["TIERMESH_CACHE_DIR"]);
  if (own !== undefined) return paths.resolve(own);
  if (platform === "win32") return paths.join(localAppData(env, home), "tiermesh", "cache");
  if (platform === "darwin") return paths.join(home, "Library", "Caches", "tiermesh");
  return paths.join(absolute(env["XDG_CACHE_HOME"]) ?? paths.join(home, ".cache"), "tiermesh");
}

/**
 * Folder for what must survive: the bus's data and credentials, spools, keys. `TIERMESH_HOME` wins; else
 * XDG_DATA_HOME/tiermesh or ~/.local/share/tiermesh on Linux, ~/Library/Application Support/tiermesh on macOS,
 * %LOCALAPPDATA%\tiermesh on Windows. Nothing is created.
 */
export function stateDir(sources: PathSources = {}): string {
  const { env, platform, home, paths } = resolve(sources);
  const own = set(env["TIERMESH_HOME"]);
  if (own !== undefined) return paths.resolve(own);
  if (platform === "win32") return paths.join(localAppData(env, home), "tiermesh");
  if (platform === "darwin") return paths.join(home, "Library", "Application Support", "tiermesh");
  return paths.join(absolute(env["XDG_DATA_HOME"]) ?? paths.join(home, ".local", "share"), "tiermesh");
}

/** Folder of the salts of commitments (salts.ts), below {@link stateDir}. */
export function saltsDir(sources: PathSources = {}): string {
  return resolve(sources).paths.join(stateDir(sources), "salts");
}

/** Folder of a cell's spools (spool.ts), below {@link stateDir}: what waits for one cell is not told another. */
export function spoolDir(cell: string, sources: PathSources = {}): string {
  return resolve(sources).paths.join(stateDir(sources), "spool", cell);
}

function resolve(sources: PathSources) {
  const { env = process.env, platform = process.platform, home = homedir() } = sources;
  return { env, platform, home, paths: platform === "win32" ? path.win32 : path.posix };
}

function localAppData(env: Readonly<Record<string, string | undefined>>, home: string): string {
  return set(env["LOCALAPPDATA"]) ?? path.win32.join(home, "AppData", "Local");
}

function set(value: string | undefined): string | undefined {
  return value === undefined || value === "" ? undefined : value;
}

/** The XDG base directory specification: a relative path is invalid and is to be ignored. */
function absolute(value: string | undefined): string | undefined {
  return value !== undefined && path.posix.isAbsolute(value) ? value : undefined;
}
