import { expect, test } from "vitest";
import { runtimeJob } from "../../test/kit/runtime-job.ts";
import { loopbackRuntime } from "./loopback.ts";
import type { RuntimeChunk } from "./runtime.ts";

const job = runtimeJob({ model: "loopback", messages: [{ role: "user", content: "the-secret-prompt" }] });

test("says that no model was run, tells the prompt's length and not the prompt, in several pieces", async () => {
  const chunks: RuntimeChunk[] = [];
  for await (const chunk of loopbackRuntime().run(job, new AbortController().signal)) chunks.push(chunk);
  const text = chunks.map((chunk) => (chunk.type === "delta" ? chunk.content : "")).join("");
  expect(text).toMatch(/^\[tiermesh diagnostic loopback: no model was run\] /);
  expect(text).toContain("17 characters");
  expect(text).not.toContain("secret");
  expect(chunks.length).toBeGreaterThan(3);
  expect(chunks.at(-1)).toMatchObject({ type: "done", finishReason: "stop", usage: { estimated: true } });
});

test("counts only the texts of messages in parts", async () => {
  const parts = [
    { type: "text", text: "four" },
    { type: "image_url", image_url: { url: "data:," } },
  ];
  let text = "";
  for await (const chunk of loopbackRuntime().run(
    {
      ...job,
      messages: [
        { role: "user", content: parts },
        { role: "assistant", content: null },
      ],
    },
    new AbortController().signal,
  )) {
    if (chunk.type === "delta") text += chunk.content ?? "";
  }
  expect(text).toContain("2 message(s) with 4 characters");
});

test("ends silently when it is cancelled", async () => {
  const abort = new AbortController();
  const chunks: RuntimeChunk[] = [];
  for await (const chunk of loopbackRuntime().run(job, abort.signal)) {
    chunks.push(chunk);
    abort.abort();
  }
  expect(chunks).toHaveLength(1);
});
