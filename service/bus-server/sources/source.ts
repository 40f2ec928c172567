import type { Environment } from "../../config.ts";

/** A nats-server that can be run. */
export interface FoundServer {
  path: string;
  /** `x.y.z`, as the binary itself says. */
  version: string;
}

/** Why a source has none; one clause, shown to people. */
export interface NoServer {
  none: string;
  /** Set when a person should hear of it though a later source may do: a server was found and not used. */
  notable?: true;
}

export interface SourceContext {
  env: Environment;
  /** Tiermesh's cache folder; binaries go to `<cacheDir>/nats-server/<version>/`. */
  cacheDir: string;
  /** One line for people about what takes time. */
  onProgress: (line: string) => void;
}

/** One way to come by a nats-server. Adding one: one file, and one line in `index.ts`. */
export interface Source {
  name: string;
  /** Whether it only looks, or also fetches and builds. The lookers run first and without a lock. */
  kind: "look" | "fetch";
  /** What a person can do to make this source work, for the error that lists the ways. */
  advice: string;
  /**
   * @throws MeshError `bad_config` when a setting names a server that cannot be run. Whatever else goes wrong is
   * `none` with the reason, so that the next source has its turn.
   */
  obtain(context: SourceContext, signal?: AbortSignal): Promise<FoundServer | NoServer>;
}
