import { readFileSync, statSync } from "node:fs";
import { MeshError } from "../../bus-schemas/index.ts";
import type { Log } from "../../service/log.ts";
import type { FoundRuntimes, Runtimes } from "../runtimes/discover.ts";
import { LearnedRates } from "../runtimes/learned-rates.ts";
import type { RuntimeState } from "../runtimes/runtime.ts";
import { readKey } from "./keys.ts";
import { createProviderHttp } from "./provider-http.ts";
import { cloudRuntime } from "./provider-runtime.ts";
import type { Provider } from "./provider.ts";
import { readProviders } from "./providers-file.ts";

/** What an egress agent is started with. */
export interface EgressConfig {
  /** Path of the providers file. */
  file: string;
  /** US dollars per 1,000 tokens by model, from the policy's registry. */
  registryPrices: Record<string, number>;
}

export interface EgressOptions extends EgressConfig {
  /** Where keys and the proxy's address are. */
  env: Readonly<Record<string, string | undefined>>;
  log: Log;
  /** Milliseconds, any origin. */
  now: () => number;
  /** Uniform in [0,1). */
  random: () => number;
  /** Called when a provider's health may have changed. */
  onChange: () => void;
}

interface Entry {
  /** All that it was made of, the key included; it never leaves this object. */
  madeOf: string;
  runtime: ReturnType<typeof cloudRuntime>;
}

/**
 * The cloud providers of a file as runtimes. Each `inspect` looks whether the file, or a key file, has changed: a provider that
 * did not change keeps its back-off, one that did starts afresh, and a file that cannot be used leaves all as it was and says so.
 */
export function createEgress(options: EgressOptions): Runtimes {
  const rates = new LearnedRates();
  let entries = new Map<string, Entry>();
  let watched = [options.file];
  const seen = new Map<string, string>();
  let problem: string | undefined;
  const wellBefore = new Map<string, boolean>();

  const load = (): void => {
    let providers: Provider[];
    try {
      providers = readProviders(options.file);
    } catch (error) {
      const kept = entries.size === 0 ? "" : `; the ${entries.size} provider(s) of before stay`;
      problem = MeshError.from(error).message + kept;
      options.log.error(`the providers file cannot be used: ${problem}`);
      return;
    }
    problem = undefined;
    entries = new Map(providers.map((provider) => [provider.name, toEntry(provider, entries.get(provider.name))]));
    watched = [options.file, ...providers.flatMap(({ key, caFile }) => [key.file, caFile]).filter(isPath)];
    options.log.info({ providers: [...entries.keys()] }, "cloud providers are set up");
  };

  /** Once for each change, beside the heartbeat, which shows it only while it lasts. */
  const note = ({ record }: RuntimeState): void => {
    const { name, healthy, status_reason: reason } = record;
    if (healthy !== (wellBefore.get(name) ?? true)) {
      // In the message, because `tiermesh up` shows no more than that.
      if (healthy) options.log.info(`the provider ${name} is asked again`);
      else options.log.warn(`the provider ${name} is not asked: ${reason}`);
    }
    wellBefore.set(name, healthy);
  };

  const toEntry = (provider: Provider, before: Entry | undefined): Entry => {
    const { key, problem: noKey, warning } = readKey(provider.key, options.env);
    if (warning !== undefined) options.log.warn(`${provider.name}: ${warning}`);
    const authority = readAuthority(provider.caFile);
    const why = noKey ?? authority.problem;
    const madeOf = JSON.stringify([provider, key, authority.ca, why]);
    if (before?.madeOf === madeOf) return before;
    const { registryPrices, now, random, onChange } = options;
    const http = createProviderHttp(options.env, authority.ca);
    return {
      madeOf,
      runtime: cloudRuntime({ provider, key, problem: why, http, rates, registryPrices, now, random, onChange }),
    };
  };

  return {
    async inspect(): Promise<FoundRuntimes> {
      if (watched.some((path) => fingerprint(path) !== seen.get(path))) {
        // Before it is read: what changes meanwhile is read again.
        for (const path of watched) seen.set(path, fingerprint(path));
        load();
        for (const path of watched) if (!seen.has(path)) seen.set(path, fingerprint(path));
      }
      const found = [...entries].map(([name, { runtime }]) => [name, { runtime, state: runtime.state() }] as const);
      for (const [, { state }] of found) note(state);
      return {
        runtimes: new Map(found),
        problems: problem === undefined ? [] : [{ endpoint: options.file, problem }],
      };
    },
  };
}

function isPath(path: string | undefined): path is string {
  return path !== undefined;
}

function readAuthority(file: string | undefined): { ca?: string; problem?: string } {
  if (file === undefined) return {};
  try {
    return { ca: readFileSync(file, "utf8") };
  } catch {
    return { problem: `the authority file ${file} cannot be read` };
  }
}

/** Changes when the file does. */
function fingerprint(path: string): string {
  const stat = statSync(path, { throwIfNoEntry: false });
  return stat === undefined ? "absent" : `${stat.mtimeMs}:${stat.size}:${stat.ino}`;
}
