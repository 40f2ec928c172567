import { z } from "zod";
import { Jurisdiction, ModelName, SubjectToken, Tokens } from "../../bus-schemas/index.ts";
import type { YamlProblem } from "../../service/yaml-config.ts";
import { API_KINDS } from "./api-kinds.ts";
import { PRESETS, PRESET_NAMES } from "./presets.ts";

const NO_KEYS_HERE =
  "keys do not belong in this file, which is copied and shown; name the variable that holds it with key_env, or a file with key_file";
/** Refused by name, because "unknown key" would not say what to do. */
const inlineKey = z.undefined({ error: NO_KEYS_HERE }).optional();

const PricePer1k = z.number().min(0).max(10_000).optional();

const ModelEntry = z.strictObject({
  /** As the mesh calls it; default: as the provider does. */
  name: ModelName.optional(),
  upstream: ModelName,
  context_length: Tokens.min(1).optional(),
  max_output_tokens: z.number().int().min(1).max(1_000_000).default(4096),
  /** Default: read from the upstream name. */
  capabilities: z.array(SubjectToken).max(32).optional(),
  price_per_1k_input: PricePer1k,
  price_per_1k_output: PricePer1k,
  price_per_1k_cached_input: PricePer1k,
});
export type ModelEntry = z.infer<typeof ModelEntry>;

/** The message never quotes the value: people paste the key itself here. */
const VariableName = z
  .string()
  .max(100)
  .regex(/^[A-Za-z_][A-Za-z0-9_]*$/, "the name of an environment variable, such as OPENAI_API_KEY, not the key itself");

const HeaderValue = z
  .string()
  .max(1000)
  .regex(/^[\x20-\x7e]*$/, "printable ASCII");

const ProviderEntry = z.strictObject({
  name: SubjectToken.optional(),
  provider: z.enum(PRESET_NAMES).optional(),
  kind: z.enum(API_KINDS).optional(),
  base_url: z.string().max(500).superRefine(checkBaseUrl).optional(),
  key_env: VariableName.optional(),
  key_file: z.string().min(1).max(1000).optional(),
  ca_file: z.string().min(1).max(1000).optional(),
  models: z.array(ModelEntry).min(1).max(500),
  max_concurrency: z.number().int().min(1).max(1000).default(8),
  timeout_s: z.number().min(1).max(3600).default(120),
  max_tokens_field: z.enum(["max_tokens", "max_completion_tokens"]).optional(),
  currency: z
    .string()
    .regex(/^[A-Z]{3}$/, "an ISO 4217 code such as USD or CNY")
    .default("USD"),
  /** Where it works on what it is sent. */
  jurisdiction: Jurisdiction.optional(),
  headers: z.record(z.string().regex(/^[A-Za-z0-9-]{1,100}$/, "a header's name"), HeaderValue).default({}),
  key: inlineKey,
  api_key: inlineKey,
  apikey: inlineKey,
  token: inlineKey,
  secret: inlineKey,
});
export type ProviderEntry = z.infer<typeof ProviderEntry>;

/** A providers file. */
export const ProvidersFile = z.strictObject({ providers: z.array(ProviderEntry).min(1).max(100) });
export type ProvidersFile = z.infer<typeof ProvidersFile>;

/** They would carry a key, or change what is sent. */
const OWN_HEADERS =
  /^(authorization|proxy-authorization|x-api-key|api-key|cookie|host|connection|expect|te|transfer-encoding|upgrade|(content|accept)(-.*)?)$/i;

/** What the schema cannot say: the first contradiction, or undefined. */
export function checkProviders({ providers }: ProvidersFile): YamlProblem | undefined {
  const names = new Set<string>();
  for (const [place, entry] of providers.entries()) {
    const problem = checkProvider(entry);
    if (problem !== undefined) return { ...problem, path: ["providers", place, ...problem.path] };
    const name = nameOf(entry);
    if (names.has(name))
      return { path: ["providers", place, "name"], message: `${name} is there twice; name one anew` };
    names.add(name);
  }
  return undefined;
}

export function nameOf({ name, provider }: ProviderEntry): string {
  return name ?? provider ?? "";
}

function checkProvider(entry: ProviderEntry): YamlProblem | undefined {
  const preset = entry.provider === undefined ? undefined : PRESETS[entry.provider];
  if (nameOf(entry) === "") return { path: [], message: "needs a name" };
  if (preset === undefined && (entry.kind === undefined || entry.base_url === undefined))
    return { path: [], message: `needs \`provider\` (${PRESET_NAMES.join(", ")}), or \`kind\` and \`base_url\`` };
  if (preset !== undefined && entry.kind !== undefined && entry.kind !== preset.kind)
    return { path: ["kind"], message: `${entry.provider} speaks ${preset.kind}` };
  if (entry.key_env !== undefined && entry.key_file !== undefined)
    return { path: ["key_file"], message: "key_env is there too; say one of them" };
  if (preset === undefined && entry.key_env === undefined && entry.key_file === undefined)
    return { path: [], message: "needs key_env or key_file" };
  for (const header of Object.keys(entry.headers))
    if (OWN_HEADERS.test(header)) return { path: ["headers", header], message: `not to be set here; ${NO_KEYS_HERE}` };
  return checkModels(entry.models);
}

function checkModels(models: readonly ModelEntry[]): YamlProblem | undefined {
  const names = new Set<string>();
  for (const [place, model] of models.entries()) {
    const name = model.name ?? model.upstream;
    if (names.has(name)) return { path: ["models", place], message: `the model ${name} is there twice` };
    names.add(name);
    if ((model.price_per_1k_input === undefined) !== (model.price_per_1k_output === undefined))
      return { path: ["models", place], message: "price_per_1k_input and price_per_1k_output belong together" };
  }
  return undefined;
}

/** Prompts and keys go over TLS, or not off this machine. */
function checkBaseUrl(text: string, context: z.RefinementCtx): void {
  const refuse = (message: string) => context.addIssue({ code: "custom", message });
  if (!URL.canParse(text)) return refuse("must be a URL such as https://api.example.com/v1");
  const url = new URL(text);
  if (url.protocol !== "https:" && !(url.protocol === "http:" && url.hostname === "127.0.0.1"))
    return refuse("must begin with https:// (http:// only to 127.0.0.1)");
  if (url.username !== "" || url.password !== "") return refuse(`must not hold a user or password; ${NO_KEYS_HERE}`);
  if (url.search !== "" || url.hash !== "") return refuse("must end after its path");
}
