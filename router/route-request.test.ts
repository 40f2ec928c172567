import fc from "fast-check";
import { expect, test } from "vitest";
import { DATA_CLASSES, JobRequest, RoutingPolicy, type JobRequestInput } from "../bus-schemas/index.ts";
import { classOf, toRouteRequest, type Envelope } from "./route-request.ts";

const NOW = 1_700_000_000_000;
const policy = RoutingPolicy.parse({});
const envelope: Envelope = {
  jobId: "job-00001",
  queue: "chat",
  headerClass: undefined,
  headerDeadlineMs: undefined,
  bodyBytes: 350,
  encrypted: true,
};
const request = (job: JobRequestInput = {}, over: Partial<Envelope> = {}) =>
  toRouteRequest(JobRequest.parse(job), { ...envelope, ...over }, policy, NOW);

test("SEED's own curl body becomes a request with the policy's defaults", () => {
  expect(request({ task_type: "chat", security_level: "P2" })).toEqual({
    jobId: "job-00001",
    taskType: "chat",
    dataClass: "P2",
    model: undefined,
    capabilities: [],
    promptTokens: 100,
    expectedOutputTokens: 210,
    contextTokens: 100,
    vramGb: undefined,
    encrypted: true,
    anonymised: false,
    sessionId: undefined,
    deadlineMs: NOW + 30_000,
    sloMs: 1500,
    batch: false,
    continues: false,
    exclude: new Set(),
  });
});

test.each([
  [{ task: "chat", prompt: "x" }, [], 210, 100],
  [{ task: "completion", prompt: "x", max_tokens: 20 }, ["completion"], 20, 120],
  [{ task: "embedding", input: "x" }, ["embedding"], 0, 0],
  [{ task: "rerank", query: "q", documents: ["d"], max_tokens: 20 }, ["rerank"], 0, 0],
] as const)("%j needs a model that can %j, and writes about %i tokens into a window of %i", (job, ...expected) => {
  const { capabilities, expectedOutputTokens, contextTokens } = request(job as JobRequestInput);
  expect([capabilities, expectedOutputTokens, contextTokens]).toEqual(expected);
});

test("a capability that the job names beside its task is wanted once", () => {
  const job = { task: "embedding", input: "x", requirements: { capabilities: ["embedding", "multilingual"] } } as const;
  expect(request(job as unknown as JobRequestInput).capabilities).toEqual(["embedding", "multilingual"]);
  expect(request({ task: "embedding", input: "x", requirements: { context_length: 512 } }).contextTokens).toBe(512);
});

test("what the job asks for is taken over", () => {
  const job = {
    model: "llama3.1-8b",
    max_tokens: 50,
    session_id: "s1",
    max_latency_ms: 400,
    requirements: { capabilities: ["code"], vram_gb: 8 },
  };
  expect(request(job)).toMatchObject({
    model: "llama3.1-8b",
    expectedOutputTokens: 50,
    contextTokens: 150,
    sessionId: "s1",
    sloMs: 400,
    capabilities: ["code"],
    vramGb: 8,
  });
  expect(request({ model: "auto" }).model).toBeUndefined();
  expect(request({ requirements: { context_length: 9 } }).contextTokens).toBe(9);
  expect(request({ max_tokens: 100_000 }).expectedOutputTokens).toBe(210);
});

test("the earliest of body deadline, header deadline and timeout counts", () => {
  expect(request({ deadline_unix_ms: NOW + 10 }).deadlineMs).toBe(NOW + 10);
  expect(request({ timeout_ms: 500 }, { headerDeadlineMs: NOW + 700 }).deadlineMs).toBe(NOW + 500);
  expect(request({ timeout_ms: 500 }, { headerDeadlineMs: NOW + 70 }).deadlineMs).toBe(NOW + 70);
  expect(request({}, { queue: "rag" }).deadlineMs).toBe(NOW + 60_000);
});

test("a deadline that has passed is an error", () => {
  for (const job of [{ deadline_unix_ms: NOW }, { deadline_unix_ms: NOW - 1 }])
    expect(() => request(job)).toThrow(expect.objectContaining({ code: "deadline_exceeded" }));
  expect(() => request({}, { headerDeadlineMs: 1 })).toThrow(expect.objectContaining({ code: "deadline_exceeded" }));
});

test("a queue that the policy does not have is an error with a suggestion", () => {
  expect(() => request({}, { queue: "chatt" })).toThrow(
    expect.objectContaining({ code: "unknown_queue", message: expect.stringContaining("chat") }),
  );
  for (const queue of ["constructor", "__proto__", "hasOwnProperty"])
    expect(() => request({}, { queue })).toThrow(expect.objectContaining({ code: "unknown_queue" }));
});

test("a queue with a batch window counts the time to the end", () => {
  expect(request({}, { queue: "media" })).toMatchObject({ batch: true, taskType: "media" });
});

test("a picture inside the body is no text", () => {
  const url = `data:image/png;base64,${"A".repeat(1_000_000)}`;
  const content = [
    { type: "image_url", image_url: { url } },
    { type: "text", text: "what is this?" },
  ];
  const job = { messages: [{ role: "user" as const, content }] };
  expect(request(job, { bodyBytes: JSON.stringify(job).length }).promptTokens).toBeLessThan(100);
  const odd = [
    { type: "image_url" },
    { type: "image_url", image_url: "x" },
    { type: "image_url", image_url: { url: 7 } },
  ];
  expect(request({ messages: [{ role: "user", content: odd }] }).promptTokens).toBe(100);
});

test("no combination of declarations widens the class beyond any valid one of them, or beyond the default", () => {
  const known = fc.constantFrom(...DATA_CLASSES);
  const declared = fc.option(fc.oneof(known, fc.constantFrom("p0", "P3", " P2", "P2 ", "", "Ｐ2"), fc.string()), {
    nil: undefined,
  });
  fc.assert(
    fc.property(declared, declared, fc.option(known, { nil: undefined }), (inHeader, inBody, default_level) => {
      const effective = classOf(
        { security_level: inBody },
        { headerClass: inHeader },
        RoutingPolicy.parse(default_level === undefined ? {} : { default_level }),
      );
      expect(DATA_CLASSES).toContain(effective);
      const said = [inHeader, inBody].filter((each) => each !== undefined && each !== "");
      const valid = said.filter((each) => (DATA_CLASSES as readonly unknown[]).includes(each)) as string[];
      for (const each of valid) expect(effective <= each).toBe(true);
      const assumed = valid.length < said.length || said.length === 0 ? (default_level ?? "P0") : "P2";
      expect(effective <= assumed).toBe(true);
    }),
  );
});
