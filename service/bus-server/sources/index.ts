import { aptSource } from "./apt.ts";
import { cacheSource } from "./cache.ts";
import { envSource } from "./env.ts";
import { goInstallSource } from "./go-install.ts";
import { pathSource } from "./path.ts";
import { releaseSource } from "./release.ts";
import type { Source } from "./source.ts";

/** Every way to come by a nats-server, in the order they are tried. */
export const SOURCES: readonly Source[] = [
  envSource,
  pathSource,
  cacheSource,
  releaseSource(),
  goInstallSource,
  aptSource,
];
