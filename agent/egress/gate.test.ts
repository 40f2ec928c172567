import { writeFileSync } from "node:fs";
import path from "node:path";
import fc from "fast-check";
import { afterEach, expect, test } from "vitest";
import { MeshError } from "../../bus-schemas/index.ts";
import { createLog } from "../../service/log.ts";
import { agentParts } from "../../test/kit/agent-parts.ts";
import { PROMPT, closeProviders, cloudOver, never } from "../../test/kit/cloud-runtime.ts";
import { OPENAI_HELLO, startProvider } from "../../test/kit/provider-servers.ts";
import { runtimeJob } from "../../test/kit/runtime-job.ts";
import { tempDir } from "../../test/kit/temp-dir.ts";
import type { DeclaredClasses } from "../runtimes/runtime.ts";
import { WorkThread } from "../work/work-thread.ts";
import { passGate } from "./gate.ts";

afterEach(closeProviders);

/** What the gate says; undefined = it lets pass. */
function verdict(declared: unknown): string | undefined {
  try {
    passGate(declared as DeclaredClasses);
    return undefined;
  } catch (error) {
    return MeshError.from(error).code;
  }
}

const P2 = { subject: "P2", header: undefined, body: undefined };
/** Declarations of which nothing may go out, with what is said of them; some are not even what the other thread can send. */
const HOSTILE: [string, unknown, string][] = [
  ["P0 in the subject", { ...P2, subject: "P0" }, "forbidden"],
  ["P0 in the header", { ...P2, header: "P0" }, "forbidden"],
  ["P0 in the body", { ...P2, header: "P2", body: "P0" }, "forbidden"],
  ["P0 in the ticket", { ...P2, ticket: "P0" }, "forbidden"],
  ["P1 in the subject", { ...P2, subject: "P1" }, "anonymiser_required"],
  ["P1 in the header", { ...P2, header: "P1", body: "P2" }, "anonymiser_required"],
  ["P1 in the body", { ...P2, body: "P1" }, "anonymiser_required"],
  ["P1 in the ticket", { ...P2, ticket: "P1" }, "anonymiser_required"],
  ["P1 in one place and P0 in another", { ...P2, header: "P1", body: "P0" }, "forbidden"],
  ["P1 in lower case", { ...P2, body: "p1" }, "forbidden"],
  ["P2 in lower case", { ...P2, body: "p2" }, "forbidden"],
  ["P2 with a space", { ...P2, header: "P2 " }, "forbidden"],
  ["P2 in full-width letters", { ...P2, body: "\uff30\uff12" }, "forbidden"],
  ["an empty body class", { ...P2, body: "" }, "forbidden"],
  ["words, which are not to be told", { ...P2, body: PROMPT }, "forbidden"],
  ["null", { ...P2, header: null }, "forbidden"],
  ["a list", { ...P2, subject: ["P2"] }, "forbidden"],
  ["no subject", { header: "P2", body: "P2" }, "forbidden"],
  ["nothing", {}, "forbidden"],
  ["no declaration at all", undefined, "forbidden"],
];

test.each(HOSTILE)("with %s the gate stays shut, and says why", (_, declared, code) => {
  expect(verdict(declared)).toBe(code);
});

test("only P2 in every place that says anything passes", () => {
  const place = fc.oneof(fc.constantFrom("P0", "P1", "P2", undefined), fc.string());
  fc.assert(
    fc.property(place, place, place, place, (subject, header, body, ticket) => {
      const good = subject === "P2" && [header, body, ticket].every((said) => said === undefined || said === "P2");
      expect(verdict({ subject, header, body, ticket }) === undefined).toBe(good);
    }),
  );
});

test("a cloud runtime that is called past every other wall opens no connection, and blames no provider", async () => {
  const { failure, record, run, server } = await cloudOver(OPENAI_HELLO);
  for (const [what, declared, code] of HOSTILE)
    expect([what, (await failure({ declared: declared as DeclaredClasses })).code]).toEqual([what, code]);
  expect([server.connections(), server.bytesIn(), server.requests]).toEqual([0, 0, []]);
  expect(record()).toMatchObject({ healthy: true, status_reason: null });
  // The same call with a general job does go out.
  await run({ declared: P2 });
  expect(server.requests).toHaveLength(1);
});

test("the work thread, told anything by the thread that faces the bus, sends a provider nothing that is not P2", async () => {
  await using server = await startProvider(OPENAI_HELLO);
  await using folder = tempDir("tiermesh-gate-");
  const file = path.join(folder.path, "p.yaml");
  const models = "[{upstream: m, context_length: 1000, capabilities: [chat]}]";
  writeFileSync(
    file,
    `providers: [{name: cloud, kind: openai, base_url: "${server.url}", key_env: K, models: ${models}}]`,
  );
  const found = Promise.withResolvers<void>();
  const config = { endpoints: [], loopback: false, egress: { file, registryPrices: {} } };
  const onRuntimes = () => found.resolve();
  const work = new WorkThread(config, onRuntimes, createLog("test", "silent"), {
    env: { K: "sk-1", LOG_LEVEL: "silent" },
  });
  const run = (declared: unknown) =>
    new Promise<string>((resolve) => {
      const onChunk = ({ type }: { type: string }) => (type === "done" ? resolve("done") : undefined);
      const job = runtimeJob({ declared: declared as DeclaredClasses });
      work.run("cloud", job, { onChunk, onFailed: ({ code }) => resolve(code) });
    });
  try {
    await found.promise;
    for (const [what, declared, code] of HOSTILE) expect([what, await run(declared)]).toEqual([what, code]);
    expect([server.connections(), server.bytesIn()]).toEqual([0, 0]);
    expect(await run({ ...P2, header: "P2", body: "P2", ticket: "P2" })).toBe("done");
    expect(server.requests).toHaveLength(1);
  } finally {
    await work.close();
  }
});

test.each([
  ["P0", "forbidden"],
  ["P1", "anonymiser_required"],
] as const)(
  "%s that admission let in by mistake ends once, is told of, and the provider hears nothing",
  async (dataClass, code) => {
    const { runtime, server } = await cloudOver(OPENAI_HELLO);
    // On L0 admission takes every class: as if an egress agent's had been taken down.
    const agent = agentParts({ layer: "L0" });
    agent.submit({ prompt: PROMPT, stream: true }, { "Mesh-Class": dataClass }, dataClass);
    const [admitted] = agent.work.runs;
    const run = async () => {
      for await (const chunk of runtime.run({ ...admitted!.job, model: "mesh-model" }, never)) admitted!.chunk(chunk);
    };
    await run().catch((error: unknown) => admitted!.fail(MeshError.from(error)));
    expect(agent.frames().filter(({ type }) => type === "end")).toMatchObject([
      { status: "failed", security_level: dataClass, error: { code, retryable: false } },
    ]);
    expect(agent.rejected).toMatchObject([{ kind: "egress", error: { code, field: "security_level" } }]);
    expect(agent.events.of("job_ended")).toMatchObject([{ status: "failed", error: { code } }]);
    expect([server.connections(), server.bytesIn()]).toEqual([0, 0]);
  },
);
