import { MeshError, fieldPath } from "../bus-schemas/index.ts";
import { z } from "zod";
import type { BusAddress } from "./bus.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

export interface ConfigSources {
  /** Values from the command line; they win. */
  flags?: Readonly<Record<string, unknown>>;
  env?: Environment;
  /** Values of a configuration file. */
  file?: Readonly<Record<string, unknown>>;
  fileName?: string;
}

/**
 * One process's configuration: flags > environment > file > the schema's defaults, all checked before any socket opens.
 * `envNames` maps each key to its variable; empty variables count as unset.
 * @throws MeshError `bad_config` naming the flag, variable or key and what was expected.
 */
export function loadConfig<T extends z.ZodObject>(
  schema: T,
  envNames: Partial<Record<keyof z.infer<T> & string, string>>,
  sources: ConfigSources,
): z.infer<T> {
  const { flags = {}, env = {}, file = {}, fileName = "the configuration file" } = sources;
  const values: Record<string, unknown> = {};
  const origin = new Map<string, string>();
  for (const key of Object.keys(file)) {
    if (!Object.hasOwn(schema.shape, key))
      throw new MeshError("bad_config", `${fileName}: unknown key "${key}"${suggest(key, Object.keys(schema.shape))}`, {
        field: key,
      });
  }
  for (const key of Object.keys(schema.shape)) {
    const variable = (envNames as Record<string, string | undefined>)[key];
    const fromEnv = variable === undefined ? undefined : env[variable];
    if (flags[key] !== undefined) put(key, flags[key], `--${kebab(key)}`);
    else if (fromEnv !== undefined && fromEnv !== "") put(key, fromEnv, variable ?? key);
    else if (file[key] !== undefined) put(key, file[key], `${fileName}: ${key}`);
  }
  function put(key: string, value: unknown, from: string) {
    values[key] = value;
    origin.set(key, from);
  }
  const result = schema.safeParse(values);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  const key = String(issue?.path[0] ?? "");
  throw new MeshError("bad_config", `${origin.get(key) ?? key}: ${issue?.message ?? "not valid"}`, {
    field: fieldPath(issue?.path ?? []),
  });
}

/** ` (did you mean "x"?)` for the known word nearest to `word`, or nothing when none is near. */
export function suggest(word: string, known: readonly string[]): string {
  let best: string | undefined;
  let bestDistance = Math.max(2, Math.floor(word.length / 3)) + 1;
  for (const candidate of known) {
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase());
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best === undefined ? "" : ` (did you mean "${best}"?)`;
}

/** Levenshtein distance. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitute = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, substitute));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}

function kebab(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** A whole number that may come as text from the environment or a flag. */
export const IntegerText = z.coerce.number().int();

/** The settings every process of the mesh has, and the variables they come from. */
export const BaseConfig = z.object({
  natsUrl: z.string().min(1).default("nats://127.0.0.1:4222"),
  natsUser: z.string().optional(),
  natsPassword: z.string().optional(),
  /** File with the seed of this process's bus user. */
  natsNkey: z.string().min(1).optional(),
  /** File of the authority (PEM) that the bus is checked by; with it TLS is required. */
  natsCa: z.string().min(1).optional(),
  cell: z
    .string()
    .regex(/^[A-Za-z0-9_-]{1,64}$/, "letters, digits, _ and -")
    .default("main"),
  /** Port of /health and /metrics on loopback; 0 picks a free one. */
  healthPort: IntegerText.min(0).max(65_535).default(0),
});
export const BASE_ENV = {
  natsUrl: "TIERMESH_NATS_URL",
  natsUser: "TIERMESH_NATS_USER",
  natsPassword: "TIERMESH_NATS_PASSWORD",
  natsNkey: "TIERMESH_NATS_NKEY",
  natsCa: "TIERMESH_NATS_CA",
  cell: "TIERMESH_CELL",
  healthPort: "TIERMESH_HEALTH_PORT",
} as const;

/** Where and as whom a process connects. */
export function busAddressOf(config: z.infer<typeof BaseConfig>): BusAddress {
  const { natsUrl: url, natsUser: user, natsPassword: password, natsNkey: nkeyFile, natsCa: caFile, cell } = config;
  return { url, user, password, nkeyFile, caFile, cell };
}

/** The variables that make a process connect so: all of them, so that none is inherited from elsewhere. */
export function busVariables({ url, user, password, nkeyFile, caFile, cell }: BusAddress): Record<string, string> {
  return {
    [BASE_ENV.natsUrl]: url,
    [BASE_ENV.natsUser]: user ?? "",
    [BASE_ENV.natsPassword]: password ?? "",
    [BASE_ENV.natsNkey]: nkeyFile ?? "",
    [BASE_ENV.natsCa]: caFile ?? "",
    [BASE_ENV.cell]: cell ?? "",
  };
}
