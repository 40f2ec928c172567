import { headers as newHeaders } from "@nats-io/nats-core";
import { expect, test } from "vitest";
import { HEADERS } from "../../bus-schemas/index.ts";
import { readWork } from "./claim.ts";

function message(body: unknown, { job = "job-00000001", round = "1" } = {}) {
  const headers = newHeaders();
  headers.set(HEADERS.job, job);
  headers.set(HEADERS.round, round);
  const data = new TextEncoder().encode(typeof body === "string" ? body : JSON.stringify(body));
  return { subject: "mesh.main.queue.work.rag.job-00000001", data, headers };
}

test("a work message says its job, and how often that was queued", () => {
  expect(readWork(message({ prompt: "x" }, { round: "3" }))).toEqual({
    jobId: "job-00000001",
    round: 3,
    job: { prompt: "x" },
  });
});

test.each([
  ["not JSON", message("{")],
  ["no prompt", message({})],
  ["another job than its subject says", message({ prompt: "x" }, { job: "job-00000002" })],
  ["a round that is no number", message({ prompt: "x" }, { round: "many" })],
  ["a round below 1", message({ prompt: "x" }, { round: "0" })],
])("%s is no job", (_what, msg) => {
  expect(() => readWork(msg)).toThrow(/./);
});
