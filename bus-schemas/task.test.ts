import { expect, test } from "vitest";
import { JobRequest, JobResult, ROUTE_FIELDS, TASKS, TASK_CAPABILITY, taskInputOf } from "./index.ts";

const job = (fields: object) => JobRequest.parse(fields);

test("a job that names no task is a chat, by its messages or its prompt", () => {
  expect(taskInputOf(job({ prompt: "hi" }))).toBeUndefined();
  expect(taskInputOf(job({ task: "chat", messages: [{ role: "user", content: "hi" }] }))).toBeUndefined();
});

test.each([
  [
    { task: "completion", prompt: "a", suffix: "b" },
    { task: "completion", prompt: "a", suffix: "b" },
  ],
  [
    { task: "embedding", input: ["a"], dimensions: 8 },
    { task: "embedding", input: ["a"], dimensions: 8 },
  ],
  [
    { task: "embedding", input: [[1, 2], [3]] },
    { task: "embedding", input: [[1, 2], [3]] },
  ],
  [
    { task: "rerank", query: "q", documents: ["d", ""], top_n: 1 },
    { task: "rerank", query: "q", documents: ["d", ""], topN: 1 },
  ],
])("%j asks with its own content and nothing else", (fields, expected) => {
  expect(taskInputOf(job({ messages: [{ role: "user", content: "not this" }], ...fields }))).toEqual(expected);
});

test.each([
  [{}, "messages"],
  [{ task: "chat", input: "x" }, "messages"],
  [{ task: "completion", messages: [{ role: "user", content: "x" }] }, "prompt"],
  [{ task: "embedding", prompt: "x" }, "input"],
  [{ task: "rerank", documents: ["d"] }, "query"],
  [{ task: "rerank", query: "q" }, "documents"],
])("%j is missing %s", (fields, field) => {
  expect(() => taskInputOf(job(fields))).toThrow(expect.objectContaining({ code: "bad_request", field }));
});

test.each([
  { task: "paint" },
  { task: "embedding", input: "" },
  { task: "embedding", input: [] },
  { task: "embedding", input: ["a", 1] },
  { task: "embedding", input: [-1] },
  { task: "embedding", input: [1.5] },
  { task: "embedding", input: Array.from({ length: 2049 }, () => "a") },
  { task: "embedding", input: "a", dimensions: 0 },
  { task: "rerank", query: "", documents: ["d"] },
  { task: "rerank", query: "q", documents: [] },
  { task: "rerank", query: "q", documents: [{ text: "d" }] },
  { task: "rerank", query: "q", documents: ["d"], top_n: 0 },
])("%j is no job", (fields) => {
  expect(JobRequest.safeParse(fields).success).toBe(false);
});

test("a request for a ticket says which task it is, and has none of its content", () => {
  expect(ROUTE_FIELDS).toContain("task");
  for (const field of ["prompt", "suffix", "input", "query", "documents", "messages"])
    expect(ROUTE_FIELDS).not.toContain(field);
});

test("every task but chat needs a capability of its own", () => {
  expect(TASKS.filter((task) => TASK_CAPABILITY[task] === undefined)).toEqual(["chat"]);
});

test.each([
  { task: "embedding", embeddings: ["no base64!"] },
  { task: "embedding", embeddings: [[0.5]] },
  { task: "rerank", ranking: [{ index: -1, score: 1 }] },
  { task: "rerank", ranking: [{ index: 0, score: Number.NaN }] },
  { task: "chat" },
])("%j is no output", (output) => {
  expect(JobResult.safeParse({ job_id: "job-00000001", status: "finished", output }).success).toBe(false);
});
