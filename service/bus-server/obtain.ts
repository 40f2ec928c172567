import path from "node:path";
import { MeshError } from "../../bus-schemas/index.ts";
import type { Environment } from "../config.ts";
import { cacheDir as defaultCacheDir } from "../paths.ts";
import { type FileLock, waitForLock } from "../file-lock.ts";
import { SOURCES } from "./sources/index.ts";
import type { FoundServer, Source, SourceContext } from "./sources/source.ts";

export interface ObtainedServer extends FoundServer {
  /** Name of the source it is from: `NATS_SERVER`, `PATH`, `cache`, `release`, `go install` or `apt`. */
  source: string;
}

/** No source has a nats-server; the message lists each with its reason, and what a person can do. */
export class NoServerError extends MeshError {
  /** Source name → why it has none. */
  readonly reasons: ReadonlyMap<string, string>;

  constructor(reasons: ReadonlyMap<string, string>, sources: readonly Source[]) {
    const tried = [...reasons].map(([name, reason]) => `  ${name}: ${reason}`).join("\n");
    const ways = sources.map((source) => `  - ${source.advice}`).join("\n");
    super(
      "bus_unavailable",
      `no nats-server could be found or fetched.\n${tried}\nAny one of these helps:\n${ways}\n  - point TIERMESH_NATS_URL at a NATS server that runs already`,
    );
    this.reasons = reasons;
  }
}

export interface ObtainOptions {
  env?: Environment;
  /** Tiermesh's cache folder; the platform's own by default. */
  cacheDir?: string;
  /** One line for people, when something takes time or a found server is skipped. */
  onProgress?: (line: string) => void;
  /** The sources to try, in order. */
  sources?: readonly Source[];
  signal?: AbortSignal | undefined;
}

/**
 * Finds a nats-server of at least VERSION_FLOOR, or fetches one into the cache. Several processes may ask at once: one
 * fetches, the others wait and then use what it fetched.
 * @throws NoServerError when every source is out of luck.
 * @throws MeshError `bad_config` when NATS_SERVER names something that cannot be run, or the cache cannot be written.
 */
export async function obtainNatsServer(options: ObtainOptions = {}): Promise<ObtainedServer> {
  const { env = process.env, sources = SOURCES, onProgress = () => {}, signal } = options;
  const context: SourceContext = { env, cacheDir: options.cacheDir ?? defaultCacheDir({ env }), onProgress };
  const reasons = new Map<string, string>();
  const lookers = sources.filter((source) => source.kind === "look");
  const fetchers = sources.filter((source) => source.kind === "fetch");

  const found = await firstOf(lookers, context, reasons, signal);
  if (found !== undefined) return found;
  const lock = await lockCache(context, signal);
  try {
    // Whoever held the lock before us may have filled the cache meanwhile.
    const meanwhile = await firstOf(lookers, { ...context, onProgress: () => {} }, new Map(), signal);
    const fetched = meanwhile ?? (await firstOf(fetchers, context, reasons, signal));
    if (fetched !== undefined) return fetched;
  } finally {
    await lock.release();
  }
  throw new NoServerError(reasons, sources);
}

async function lockCache({ cacheDir, onProgress }: SourceContext, signal?: AbortSignal): Promise<FileLock> {
  try {
    return await waitForLock(
      path.join(cacheDir, "nats-server", ".lock"),
      (holder) => onProgress(`waiting for process ${holder.pid}, which is fetching nats-server`),
      signal,
    );
  } catch (error) {
    signal?.throwIfAborted();
    const why = (error as NodeJS.ErrnoException).code ?? "unknown reason";
    const message = `the cache folder ${cacheDir} cannot be used (${why}); set TIERMESH_CACHE_DIR to another`;
    throw new MeshError("bad_config", message, { field: "TIERMESH_CACHE_DIR", cause: error });
  }
}

async function firstOf(
  sources: readonly Source[],
  context: SourceContext,
  reasons: Map<string, string>,
  signal?: AbortSignal,
): Promise<ObtainedServer | undefined> {
  for (const source of sources) {
    signal?.throwIfAborted();
    const result = await attempt(source, context, signal);
    if (!("none" in result)) return { ...result, source: source.name };
    reasons.set(source.name, result.none);
    if (result.notable === true || source.kind === "fetch")
      context.onProgress(`nats-server, ${source.name}: ${result.none}`);
  }
  return undefined;
}

async function attempt(source: Source, context: SourceContext, signal?: AbortSignal): ReturnType<Source["obtain"]> {
  try {
    return await source.obtain(context, signal);
  } catch (error) {
    if (error instanceof MeshError) throw error;
    signal?.throwIfAborted();
    return { none: error instanceof Error ? error.message : String(error) };
  }
}
