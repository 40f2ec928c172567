import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/**
 * A llama-server to be stopped and killed: a process of its own that answers `words=<n> every=<ms> first=<ms>` in the prompt
 * with so many numbered words, the first after `first`. A last message of the assistant's is gone on with, as the real one does.
 */

const model = process.argv[2] ?? "m";
/** With a port it belongs to whoever stops it; without one it ends with the end of its standard input. */
const fixedPort = process.argv[3];
const SLOTS = 16;

/** The whole answer to a prompt of so many words. */
const answer = (words: number) => Array.from({ length: words }, (_, i) => `word-${i} `).join("");

interface Chat {
  messages: { role: string; content: string }[];
}

function chat(response: ServerResponse, { messages }: Chat): void {
  const last = messages.at(-1);
  const begun = last?.role === "assistant" ? last.content : "";
  const prompt = messages.findLast(({ role }) => role === "user")?.content ?? "";
  const number = (name: string, or: number) => Number(new RegExp(`${name}=(\\d+)`).exec(prompt)?.[1] ?? or);
  const rest = answer(number("words", 5)).slice(begun.length);
  // Pieces end in the middle of words, as tokens do.
  const pieces = rest.match(/.{1,7}/gs) ?? [];
  const event = (data: unknown) => `data: ${typeof data === "string" ? data : JSON.stringify(data)}\n\n`;
  const delta = (content: object, finish: string | null) =>
    event({ choices: [{ index: 0, delta: content, finish_reason: finish }] });
  response.writeHead(200, { "content-type": "text/event-stream" });
  response.flushHeaders();
  let at = 0;
  const next = () => {
    const piece = pieces[at++];
    if (piece === undefined) {
      const usage = { prompt_tokens: 10 + Math.ceil(begun.length / 7), completion_tokens: pieces.length };
      response.end(delta({}, "stop") + event({ choices: [], usage }) + event("[DONE]"));
      return;
    }
    response.write(delta({ content: piece }, null));
    timer = setTimeout(next, number("every", 0));
  };
  let timer = setTimeout(next, number("first", 0));
  response.on("close", () => clearTimeout(timer));
}

const server = createServer((request, response) => {
  const parts: Buffer[] = [];
  request.on("data", (part: Buffer) => parts.push(part));
  request.on("end", () => {
    response.setHeader("server", "llama.cpp");
    if (request.url === "/v1/chat/completions")
      return chat(response, JSON.parse(Buffer.concat(parts).toString()) as Chat);
    const body = {
      "/props": { total_slots: SLOTS, default_generation_settings: { n_ctx: 8192 } },
      "/health": { status: "ok" },
      "/v1/models": { object: "list", data: [{ id: model, object: "model", owned_by: "llamacpp" }] },
    }[request.url ?? ""];
    response.statusCode = body === undefined ? 404 : 200;
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify(body ?? {}));
  });
});
server.listen(Number(fixedPort ?? 0), "127.0.0.1", () => {
  process.stdout.write(`${JSON.stringify({ ready: true, port: (server.address() as AddressInfo).port })}\n`);
});
if (fixedPort === undefined) process.stdin.on("end", () => process.exit()).resume();
