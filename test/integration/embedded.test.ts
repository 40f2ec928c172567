import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startEmbeddedRuntime, type EmbeddedRuntime } from "../../agent/embedded/index.ts";

/** A folder to keep the model (180 MB with its engine) in, such as `/tmp/tiermesh-cache`. */
const cacheDir = process.env["TIERMESH_TEST_MODEL"];
if (cacheDir === undefined) {
  process.stderr.write(
    "embedded runtime: skipped, set TIERMESH_TEST_MODEL=<cache folder> to fetch and run the real model\n",
  );
}

let runtime: EmbeddedRuntime;
describe.skipIf(cacheDir === undefined)("with the real model", () => {
  beforeAll(async () => {
    runtime = await startEmbeddedRuntime({ cacheDir: cacheDir ?? "", env: process.env, threads: 2 });
  }, 600_000);
  afterAll(async () => {
    await runtime.stop();
  });

  function chat(body: object, init: RequestInit = {}): Promise<Response> {
    return fetch(`${runtime.baseUrl}/v1/chat/completions`, {
      method: "POST",
      headers: { authorization: `Bearer ${runtime.token}` },
      body: JSON.stringify({ temperature: 0, ...body }),
      ...init,
    });
  }

  interface Answer {
    choices: { message: { content: string }; finish_reason: string }[];
    usage: { prompt_tokens: number; completion_tokens: number; prompt_tokens_details: { cached_tokens: number } };
  }

  test("the real model answers a question in words that make sense", async () => {
    const answer = (await (
      await chat({ messages: [{ role: "user", content: "What is the capital of Japan?" }], max_tokens: 40 })
    ).json()) as Answer;
    expect(answer.choices[0]?.message.content).toContain("Tokyo");
    expect(answer.choices[0]?.finish_reason).toBe("stop");
    expect(answer.usage.prompt_tokens).toBeGreaterThan(5);
  });

  test("it stops at max_tokens with reason length, and finds a conversation's prefix in its cache", async () => {
    const messages = [
      { role: "system", content: "You tell stories." },
      { role: "user", content: "Tell a long story about the sea." },
    ];
    const first = (await (await chat({ messages, max_tokens: 8 })).json()) as Answer;
    expect(first.choices[0]?.finish_reason).toBe("length");
    expect(first.usage.completion_tokens).toBe(8);
    const said = first.choices[0]?.message.content ?? "";
    const more = [...messages, { role: "assistant", content: said }, { role: "user", content: "Go on." }];
    const second = (await (await chat({ messages: more, max_tokens: 8 })).json()) as Answer;
    expect(second.usage.prompt_tokens_details.cached_tokens).toBeGreaterThanOrEqual(first.usage.prompt_tokens - 1);
  });

  test("a caller that goes away in mid-stream frees its slot", async () => {
    const leaving = new AbortController();
    const messages = [{ role: "user", content: "Write a very long story." }];
    const response = await chat({ messages, stream: true, max_tokens: 4000 }, { signal: leaving.signal });
    await response.body?.getReader().read();
    leaving.abort();
    const busy = async () =>
      ((await (await fetch(`${runtime.baseUrl}/health`)).json()) as { slots_busy: number }).slots_busy;
    await expect.poll(busy, { timeout: 10_000 }).toBe(0);
  });

  test("a prompt longer than the context is refused", async () => {
    const response = await chat({ messages: [{ role: "user", content: "word ".repeat(9000) }] });
    expect(response.status).toBe(400);
  });

  /** Someone who starts a server, tells its pid, and dies without a word. */
  const PARENT = `
import { startEmbeddedRuntime } from ${JSON.stringify(new URL("../../agent/embedded/index.ts", import.meta.url).href)};
const runtime = await startEmbeddedRuntime({ cacheDir: process.argv[1], env: process.env, threads: 1, parallelSlots: 1 });
console.log(runtime.pid);
`;

  test("it ends when whoever started it is killed", async () => {
    const parent = spawn(process.execPath, ["--input-type=module-typescript", "-e", PARENT, cacheDir ?? ""], {
      stdio: ["ignore", "pipe", "inherit"],
      cwd: fileURLToPath(new URL("../..", import.meta.url)),
    });
    const [line] = (await once(createInterface({ input: parent.stdout }), "line")) as [string];
    parent.kill("SIGKILL");
    const alive = () => {
      try {
        return process.kill(Number(line), 0);
      } catch {
        return false;
      }
    };
    await expect.poll(alive, { timeout: 10_000 }).toBe(false);
  });
});
