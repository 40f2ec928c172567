import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { MeshError } from "../../bus-schemas/index.ts";
import { parseYamlConfig } from "../../service/yaml-config.ts";
import { capabilitiesOf } from "../runtimes/capabilities.ts";
import { PRESETS, type Preset } from "./presets.ts";
import type { CloudModel, Price, Provider } from "./provider.ts";
import { ProvidersFile, checkProviders, nameOf, type ModelEntry, type ProviderEntry } from "./providers-schema.ts";

/** No list of providers is longer, bytes. */
const MAX_FILE_BYTES = 1_000_000;

/**
 * Reads a providers file (`TIERMESH_PROVIDERS`); keys are not read here.
 * @throws MeshError `bad_config` with file, line, path and what was expected.
 */
export function readProviders(path: string): Provider[] {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (cause) {
    throw new MeshError("bad_config", `${path}: cannot be read; TIERMESH_PROVIDERS names a file of cloud providers`, {
      cause,
    });
  }
  return parseProviders(text, path);
}

/** @see readProviders; `path` names the file in messages and is what its relative paths start from. */
export function parseProviders(text: string, path: string): Provider[] {
  const options = { schema: ProvidersFile, name: path, maxBytes: MAX_FILE_BYTES, check: checkProviders };
  const folder = dirname(resolve(path));
  return parseYamlConfig(text, options).providers.map((entry) => toProvider(entry, folder));
}

/** Variables that hold a provider's key: only the thread that calls providers is to see them. */
export function keyVariables(providers: readonly Provider[]): string[] {
  return providers.flatMap(({ key }) => (key.variable === undefined ? [] : [key.variable]));
}

function toProvider(entry: ProviderEntry, folder: string): Provider {
  const preset: Preset | undefined = entry.provider === undefined ? undefined : PRESETS[entry.provider];
  const kind = entry.kind ?? preset?.kind ?? "openai";
  const baseUrl = (entry.base_url ?? preset?.baseUrl ?? "").replace(/\/+$/, "");
  const maxTokensField = entry.max_tokens_field ?? preset?.maxTokensField ?? "max_tokens";
  return {
    name: nameOf(entry),
    kind,
    // Both spellings of Anthropic's base URL are about; its path begins with /v1.
    baseUrl: kind === "anthropic" ? baseUrl.replace(/\/v1$/, "") : baseUrl,
    key:
      entry.key_file === undefined
        ? { variable: entry.key_env ?? preset?.keyEnv }
        : { file: resolve(folder, entry.key_file) },
    models: entry.models.map((model) => toModel(model, maxTokensField)),
    maxConcurrency: entry.max_concurrency,
    timeoutMs: entry.timeout_s * 1000,
    headers: entry.headers,
    currency: entry.currency,
    // What is known of the preset's own address says nothing of another one.
    jurisdiction: entry.jurisdiction ?? (entry.base_url === undefined ? preset?.jurisdiction : undefined) ?? null,
    caFile: entry.ca_file === undefined ? undefined : resolve(folder, entry.ca_file),
  };
}

function toModel(entry: ModelEntry, maxTokensField: CloudModel["maxTokensField"]): CloudModel {
  return {
    name: entry.name ?? entry.upstream,
    upstream: entry.upstream,
    contextLengthTokens: entry.context_length ?? null,
    maxOutputTokens: entry.max_output_tokens,
    maxTokensField,
    capabilities: entry.capabilities ?? capabilitiesOf(entry.upstream),
    price: priceOf(entry),
  };
}

function priceOf({
  price_per_1k_input: input,
  price_per_1k_output: output,
  price_per_1k_cached_input: cachedInput,
}: ModelEntry): Price | undefined {
  if (input === undefined || output === undefined) return undefined;
  return { input, output, cachedInput: cachedInput ?? input };
}
