import { expect, test } from "vitest";
import path from "node:path";
import { MeshError } from "../../bus-schemas/index.ts";
import { PRESETS, PRESET_NAMES } from "./presets.ts";
import { keyVariables, parseProviders, readProviders } from "./providers-file.ts";

const SECRET = "sk-proj-abcDEF123456";

function errorOf(text: string): MeshError {
  try {
    parseProviders(text, "p.yaml");
  } catch (error) {
    if (error instanceof MeshError) return error;
    throw error;
  }
  throw new Error("it was accepted");
}

/** One provider with these lines, and one model unless they name some. */
const one = (lines: string) =>
  `providers:\n  - provider: deepseek\n${lines === "" ? "" : `${lines.replace(/^/gm, "    ")}\n`}${lines.includes("models:") ? "" : "    models: [{upstream: deepseek-chat}]\n"}`;

test("a preset needs models only: address, API, variable and capabilities are known", () => {
  expect(parseProviders(one(""), "p.yaml")).toEqual([
    {
      name: "deepseek",
      kind: "openai",
      baseUrl: "https://api.deepseek.com",
      key: { variable: "DEEPSEEK_API_KEY" },
      maxConcurrency: 8,
      timeoutMs: 120_000,
      headers: {},
      currency: "USD",
      jurisdiction: null,
      caFile: undefined,
      models: [
        {
          name: "deepseek-chat",
          upstream: "deepseek-chat",
          contextLengthTokens: null,
          maxOutputTokens: 4096,
          maxTokensField: "max_tokens",
          capabilities: ["text", "chat", "multilingual"],
          price: undefined,
        },
      ],
    },
  ]);
});

test("everything can be said, and stands above the preset", () => {
  const [provider] = parseProviders(
    `providers:
  - name: mirror
    provider: openai
    base_url: https://mirror.example/v1/
    key_file: keys/openai
    ca_file: /etc/ca.pem
    max_concurrency: 3
    timeout_s: 30
    max_tokens_field: max_tokens
    currency: CNY
    jurisdiction: SG
    headers: {X-Team: research}
    models:
      - {name: small, upstream: gpt-x-mini, context_length: 128000, max_output_tokens: 100, capabilities: [chat],
         price_per_1k_input: 0.01, price_per_1k_output: 0.02}
`,
    "/etc/mesh/p.yaml",
  );
  expect(provider).toMatchObject({
    name: "mirror",
    baseUrl: "https://mirror.example/v1",
    key: { file: path.resolve("/etc/mesh/keys/openai") },
    caFile: path.resolve("/etc/ca.pem"),
    maxConcurrency: 3,
    timeoutMs: 30_000,
    currency: "CNY",
    jurisdiction: "SG",
    headers: { "X-Team": "research" },
    models: [{ name: "small", upstream: "gpt-x-mini", price: { input: 0.01, output: 0.02, cachedInput: 0.01 } }],
  });
});

test("a jurisdiction is known where a preset's documentation says it, of that address only, or the file says it", () => {
  const of = (lines: string) =>
    parseProviders(`providers: [{provider: dashscope, models: [{upstream: m}]${lines}}]`, "p.yaml")[0]?.jurisdiction;
  expect(of("")).toBe("CN");
  expect(of(', base_url: "https://dashscope-intl.aliyuncs.com/compatible-mode/v1"')).toBeNull();
  expect(of(", jurisdiction: SG")).toBe("SG");
  for (const bad of ["cn", "CHN", "China", "''"]) expect(() => of(`, jurisdiction: ${bad}`)).toThrow(/jurisdiction/);
});

test("every preset is over TLS, and gives a usable provider with nothing but a model", () => {
  for (const name of PRESET_NAMES) {
    const [provider] = parseProviders(`providers: [{provider: ${name}, models: [{upstream: m}]}]`, "p.yaml");
    expect(provider?.baseUrl).toMatch(/^https:\/\/[a-z0-9.-]+(\/[A-Za-z0-9./-]+)?$/);
    expect(keyVariables([provider!])).toEqual([PRESETS[name].keyEnv]);
  }
});

test("Anthropic's base URL may end with /v1 or not", () => {
  for (const url of ["https://api.anthropic.com", "https://api.anthropic.com/v1", "https://api.anthropic.com/v1/"])
    expect(parseProviders(one("").replace("deepseek\n", `anthropic\n    base_url: ${url}\n`), "p")[0]?.baseUrl).toBe(
      "https://api.anthropic.com",
    );
});

test.each(["key", "api_key", "apikey", "token", "secret"])(
  "a key written as %s is refused, and never quoted",
  (name) => {
    const { code, message, field } = errorOf(one(`${name}: ${SECRET}`));
    expect(code).toBe("bad_config");
    expect(message).toContain(`p.yaml:3: providers[0].${name}: keys do not belong in this file`);
    expect(message).toContain("key_env");
    expect(field).toBe(`providers[0].${name}`);
    expect(message).not.toContain(SECRET);
  },
);

test.each([
  [
    "a misspelt key, with the right one",
    one("base_ulr: https://a.example"),
    'p.yaml:3: providers[0].base_ulr: unknown key (did you mean "base_url"?)',
  ],
  [
    "a misspelt key of a model",
    one("models:\n  - upstream: x\n    contextlength: 5"),
    'p.yaml:5: providers[0].models[0].contextlength: unknown key (did you mean "context_length"?)',
  ],
  [
    "an unknown preset",
    "providers:\n  - provider: opnai\n    models: [{upstream: m}]",
    "p.yaml:2: providers[0].provider: ",
  ],
  [
    "a key where a variable's name should be",
    one(`key_env: ${SECRET}`),
    "p.yaml:3: providers[0].key_env: the name of an environment variable",
  ],
  ["both places for a key", one("key_env: A\nkey_file: b"), "p.yaml:4: providers[0].key_file: key_env is there too"],
  [
    "no key at all",
    "providers:\n  - {name: a, kind: openai, base_url: 'https://a.example', models: [{upstream: m}]}",
    "p.yaml:2: providers[0]: needs key_env or key_file",
  ],
  [
    "neither preset nor address",
    "providers:\n  - {name: a, key_env: A, models: [{upstream: m}]}",
    "needs `provider` (openai, anthropic, ",
  ],
  [
    "no name",
    "providers:\n  - {kind: openai, base_url: 'https://a.example', key_env: A, models: [{upstream: m}]}",
    "providers[0]: needs a name",
  ],
  ["another API than the preset's", one("kind: anthropic"), "p.yaml:3: providers[0].kind: deepseek speaks openai"],
  [
    "plain HTTP to another machine",
    one("base_url: http://10.0.0.1/v1"),
    "p.yaml:3: providers[0].base_url: must begin with https://",
  ],
  [
    "plain HTTP to a name that looks local",
    one("base_url: http://127.0.0.1.example.com/v1"),
    "must begin with https://",
  ],
  [
    "plain HTTP to localhost, which can be any machine",
    one("base_url: http://localhost/v1"),
    "must begin with https://",
  ],
  ["a password in the address", one(`base_url: https://u:${SECRET}@a.example`), "must not hold a user or password"],
  ["a key in the address", one(`base_url: https://a.example/?key=${SECRET}`), "must end after its path"],
  ["a file address", one("base_url: file:///etc/passwd"), "must begin with https://"],
  [
    "a key as a header",
    one(`headers: {Authorization: Bearer ${SECRET}}`),
    "p.yaml:3: providers[0].headers.Authorization: not to be set here",
  ],
  ["a key as Anthropic's header", one(`headers: {X-Api-Key: ${SECRET}}`), "not to be set here"],
  [
    "a header with a line break",
    one('headers: {X-A: "a\\r\\nb"}'),
    "p.yaml:3: providers[0].headers.X-A: printable ASCII",
  ],
  ["a price without its other half", one("models: [{upstream: m, price_per_1k_input: 1}]"), "belong together"],
  [
    "a negative price",
    one("models: [{upstream: m, price_per_1k_input: -1, price_per_1k_output: 1}]"),
    "price_per_1k_input",
  ],
  [
    "a model twice",
    one("models: [{upstream: m}, {upstream: n, name: m}]"),
    "providers[0].models[1]: the model m is there twice",
  ],
  [
    "a provider twice",
    `${one("")}  - provider: deepseek\n    models: [{upstream: m}]`,
    "p.yaml:4: providers[1].name: deepseek is there twice",
  ],
  ["no models", one("models: []"), "providers[0].models"],
  ["no slots", one("max_concurrency: 0"), "providers[0].max_concurrency"],
  ["a name that is no subject token", one("name: a.b"), "providers[0].name"],
  ["nothing", "", "providers"],
  ["a list", "[1]", "the file"],
  ["what is not YAML", "providers: [", "p.yaml:1: not YAML"],
])("%s is told by file, line and path", (_, text, expected) => {
  const error = errorOf(text);
  expect(error.code).toBe("bad_config");
  expect(error.message).toContain(expected);
  expect(error.message).toMatch(/^p\.yaml:\d+: /);
  expect(error.message).not.toContain(SECRET);
});

test("a file that is not there is told by its name, with the variable", () => {
  expect(() => readProviders("/no/such/file.yaml")).toThrow(
    /\/no\/such\/file\.yaml: cannot be read; TIERMESH_PROVIDERS/,
  );
});

test("the example file loads", () => {
  const file = path.join(import.meta.dirname, "..", "..", "deploy", "examples", "providers.yaml");
  expect(readProviders(file).length).toBeGreaterThan(1);
});
