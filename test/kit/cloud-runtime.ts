import { expect } from "vitest";
import { MeshError } from "../../bus-schemas/index.ts";
import { createProviderHttp } from "../../agent/egress/provider-http.ts";
import { cloudRuntime } from "../../agent/egress/provider-runtime.ts";
import { parseProviders } from "../../agent/egress/providers-file.ts";
import { LearnedRates } from "../../agent/runtimes/learned-rates.ts";
import type { RuntimeChunk, RuntimeJob } from "../../agent/runtimes/runtime.ts";
import { runtimeJob } from "./runtime-job.ts";
import { startProvider, type FakeProvider } from "./provider-servers.ts";

export const KEY = "sk-secret-key-1234567890";
export const PROMPT = "the-secret-prompt";
export const never = new AbortController().signal;

/** Servers that tests opened; close them after each. */
export const openProviders: FakeProvider[] = [];
export async function closeProviders(): Promise<void> {
  await Promise.all(openProviders.splice(0).map((server) => server[Symbol.asyncDispose]()));
}

/** How the one provider of a test is set up. */
interface SetUp {
  kind?: "openai" | "anthropic";
  /** Further lines of the provider in the file. */
  more?: string;
  price?: string;
  registryPrices?: Record<string, number>;
}

/** A cloud runtime over a fake provider, on a clock of its own. `failure` also looks that no error holds key or prompt. */
export async function cloudOver(
  behave: FakeProvider["behave"],
  { kind = "openai", more = "", price = "", registryPrices = {} }: SetUp = {},
) {
  const server = await startProvider(behave);
  openProviders.push(server);
  const text = `providers: [{name: cloud, kind: ${kind}, base_url: "${server.url}", key_env: K, ${more}
    models: [{name: mesh-model, upstream: up-model, context_length: 1000, capabilities: [chat]${price}}]}]`;
  const [provider] = parseProviders(text, "p.yaml");
  const clock = { ms: 0 };
  let changes = 0;
  if (provider === undefined) throw new Error("no provider");
  const runtime = cloudRuntime({
    provider,
    key: KEY,
    problem: undefined,
    http: createProviderHttp({}, undefined),
    rates: new LearnedRates(),
    registryPrices,
    now: () => clock.ms,
    random: () => 1,
    onChange: () => changes++,
  });
  /** What was committed to before a request left. */
  const sent: string[] = [];
  const run = async (overrides: Partial<RuntimeJob> = {}, signal: AbortSignal = never) => {
    const job = runtimeJob({ model: "mesh-model", messages: [{ role: "user", content: PROMPT }], ...overrides });
    const chunks: Exclude<RuntimeChunk, { type: "sent" }>[] = [];
    for await (const piece of runtime.run(job, signal))
      if (piece.type === "sent") sent.push(piece.commitment);
      else chunks.push(piece);
    return chunks;
  };
  const failure = async (overrides: Partial<RuntimeJob> = {}): Promise<MeshError> => {
    const error: unknown = await run(overrides).catch((thrown: unknown) => thrown);
    if (!(error instanceof MeshError)) throw new Error("it did not fail");
    const told = [error.message, error.stack, JSON.stringify(error.toWire()), runtime.state().record.status_reason];
    for (const text of told) for (const secret of [KEY, PROMPT]) expect(text ?? "").not.toContain(secret);
    return error;
  };
  return { server, runtime, clock, run, sent, failure, record: () => runtime.state().record, changes: () => changes };
}
