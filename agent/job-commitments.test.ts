import { createHmac } from "node:crypto";
import { expect, test } from "vitest";
import { MeshError, type EventData } from "../bus-schemas/index.ts";
import { agentParts } from "../test/kit/agent-parts.ts";

const SALT = Buffer.alloc(32, 9);
const salted = { commitment_salt: SALT.toString("base64url") };
const of = (salt: Buffer, content: string) => `hmac-sha256:${createHmac("sha256", salt).update(content).digest("hex")}`;

/** An agent that has taken a job, its runtime, and what it recorded of the end. */
function taken(body: object) {
  const parts = agentParts();
  parts.submit(body);
  const [run] = parts.work.runs;
  if (run === undefined) throw new Error("the job did not start");
  const end = () => {
    const last = parts.frames().at(-1);
    return last?.type === "end" ? last : undefined;
  };
  const recorded = () => parts.events.of("job_ended")[0] as EventData<"job_ended"> | undefined;
  return { ...parts, run, end, recorded };
}

test("a node commits to input and answer by the salt that the job brought, and says that salt nowhere", () => {
  const { run, end, recorded } = taken({ messages: [{ role: "user", content: "how many?" }], stream: true, ...salted });
  run.say("twen");
  run.say("ty");
  run.done();
  expect(recorded()?.commitments).toEqual({
    salt_from: "caller",
    input_hmac: of(SALT, '{"messages":[{"content":"how many?","role":"user"}]}'),
    answer_hmac: of(SALT, "twenty"),
  });
  expect(end()).toMatchObject({ status: "finished", commitment_salt: null });
  expect(JSON.stringify(recorded())).not.toContain(salted.commitment_salt);
});

test("who brings none is handed one with the end, another for each job", () => {
  const salts = [1, 2].map(() => {
    const { run, end, recorded } = taken({ prompt: "hello" });
    run.say("hi");
    run.done();
    const salt = end()?.commitment_salt ?? "";
    const { commitments } = recorded() ?? {};
    expect(commitments).toMatchObject({ salt_from: "node", answer_hmac: of(Buffer.from(salt, "base64url"), "hi") });
    expect(JSON.stringify(recorded())).not.toContain(salt);
    return salt;
  });
  expect(new Set(salts).size).toBe(2);
});

test("an answer that another node began is committed to as what was written here, and as the whole", () => {
  const { run, recorded } = taken({ prompt: "count", continue_from: "one, ", stream: true, ...salted });
  run.say("two");
  run.done();
  expect(recorded()?.commitments).toMatchObject({
    input_hmac: of(SALT, '{"prompt":"count"}'),
    answer_hmac: of(SALT, "two"),
    whole_answer_hmac: of(SALT, "one, two"),
  });
});

test("tool calls, a task's output and what went to a provider are committed to as well", () => {
  const { run, recorded } = taken({ prompt: "weather?", stream: true, ...salted });
  run.chunk({ type: "sent", commitment: of(SALT, "the request") });
  run.chunk({
    type: "delta",
    tool_calls: [{ index: 0, id: "c", type: "function", function: { name: "w", arguments: "{" } }],
  });
  run.chunk({ type: "delta", tool_calls: [{ index: 0, function: { arguments: "}" } }] });
  run.done();
  const { commitments } = recorded() ?? {};
  expect(commitments).toMatchObject({
    egress_hmac: of(SALT, "the request"),
    tool_calls_hmac: of(SALT, '[{"function":{"arguments":"{}","name":"w"},"id":"c","type":"function"}]'),
  });
  expect(commitments).not.toHaveProperty("answer_hmac");
  const embedding = taken({ task: "embedding", input: ["a"], ...salted });
  const output = { task: "embedding" as const, embeddings: ["AAAA"] };
  embedding.run.chunk({ type: "done", finishReason: "stop", usage: null, output });
  expect(embedding.recorded()?.commitments).toMatchObject({
    input_hmac: of(SALT, '{"input":["a"]}'),
    answer_hmac: of(SALT, '{"embeddings":["AAAA"],"task":"embedding"}'),
  });
});

test("tool calls without end are not kept, and not committed to", () => {
  const { run, recorded } = taken({ prompt: "weather?", stream: true, ...salted });
  const piece = (args: string) => ({
    type: "delta" as const,
    tool_calls: [{ index: 0, id: "c", type: "function", function: { name: "w", arguments: args } }],
  });
  for (let i = 0; i < 6; i++) run.chunk(piece("x".repeat(1024 * 1024)));
  run.chunk(piece("y"));
  run.done();
  expect(recorded()?.commitments).not.toHaveProperty("tool_calls_hmac");
});

test("a run that fails commits to what it was given and what had come, and an input that is no JSON any more stops nothing", () => {
  const failed = taken({ prompt: "hello", stream: true, ...salted });
  failed.run.say("half");
  failed.run.fail(new MeshError("bad_request", "the runtime does not like it"));
  expect(failed.recorded()).toMatchObject({ status: "failed", commitments: { answer_hmac: of(SALT, "half") } });
  let deep: unknown = "x";
  for (let i = 0; i < 20_000; i++) deep = [deep];
  const parts = agentParts();
  // As msgpack brings it: such a body has no text.
  const { intake } = parts;
  parts.submit({ prompt: "hello", ...salted });
  const [job] = intake.jobs.values();
  if (job === undefined) throw new Error("no job");
  Object.assign(job.facts.request, { messages: [{ role: "user", content: "a", deep }] });
  parts.work.runs[0]?.done();
  const { commitments } = parts.events.of("job_ended")[0] as EventData<"job_ended">;
  expect(commitments).toEqual({ salt_from: "caller" });
});
