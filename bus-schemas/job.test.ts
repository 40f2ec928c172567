import { expect, test } from "vitest";
import {
  ControlRequest,
  JobRequest,
  JobResult,
  RUNTIME_PARAMETERS,
  StreamFrame,
  Verdict,
  parseOrThrow,
} from "./index.ts";

test("the body of SEED's curl is a job as it stands", () => {
  const body = '{"task_type": "chat", "security_level": "P2"}';
  expect(JobRequest.parse(JSON.parse(body))).toEqual({ task_type: "chat", security_level: "P2" });
});

test("keys that this version does not know are ignored, so newer clients are served", () => {
  expect(JobRequest.parse({ prompt: "hi", some_new_field: 1 })).toEqual({ prompt: "hi" });
});

test("messages keep what OpenAI clients put into them", () => {
  const messages = [
    { role: "user", content: [{ type: "image_url", image_url: { url: "data:image/png;base64,AA==" } }] },
    {
      role: "assistant",
      content: null,
      tool_calls: [{ id: "1", type: "function", function: { name: "f", arguments: "{}" } }],
    },
    { role: "tool", content: "42", tool_call_id: "1" },
  ];
  expect(JobRequest.parse({ messages }).messages).toEqual(messages);
});

test("a malformed job is refused by the name of the field", () => {
  const cases: [unknown, string | undefined][] = [
    [{ messages: [{ role: "king", content: "x" }] }, "messages[0].role"],
    [{ messages: [] }, "messages"],
    [{ messages: "x" }, "messages"],
    [{ prompt: "" }, "prompt"],
    [{ job_id: "a.b.c.d.e" }, "job_id"],
    [{ task_type: "*" }, "task_type"],
    [{ stream: "yes" }, "stream"],
    [{ max_tokens: 0 }, "max_tokens"],
    [{ temperature: -1 }, "temperature"],
    [{ timeout_ms: 0 }, "timeout_ms"],
    [{ deadline_unix_ms: 12 }, "deadline_unix_ms"],
    [{ requirements: { vram_gb: -1 } }, "requirements.vram_gb"],
    [[], undefined],
    ["x", undefined],
  ];
  for (const [value, field] of cases) {
    expect(() => parseOrThrow(JobRequest, value)).toThrow(
      expect.objectContaining({ name: "MeshError", field }) as Error,
    );
  }
});

test("the last frame of a stream is the job's result", () => {
  const end = JobResult.parse({ job_id: "job-0001", status: "finished" });
  expect(StreamFrame.parse(end)).toEqual(end);
  expect(StreamFrame.safeParse({ type: "end", job_id: "job-0001", status: "lost" }).success).toBe(false);
  expect(StreamFrame.safeParse({ type: "finale" }).success).toBe(false);
});

test("a verdict carries the fresh load; a refusal says why", () => {
  const base = { job_id: "job-0001", node_id: "n1", load: {} };
  expect(Verdict.parse({ type: "accepted", ...base })).toMatchObject({ load: { slots: 1, running: 0 } });
  expect(Verdict.safeParse({ type: "refused", ...base }).success).toBe(false);
});

test("a command that is none is refused", () => {
  expect(ControlRequest.safeParse({ command: "reboot" }).success).toBe(false);
  expect(ControlRequest.parse({ command: "drain", reason: "maintenance" })).toEqual({
    command: "drain",
    reason: "maintenance",
  });
});

test("the runtime gets the parameters by OpenAI's names", () => {
  expect(RUNTIME_PARAMETERS).toEqual(
    expect.arrayContaining(["max_tokens", "temperature", "top_p", "seed", "stop", "tools"]),
  );
});
