import { setTimeout as pause } from "node:timers/promises";
import { HEADERS, type StreamFrame } from "../../bus-schemas/index.ts";
import type { MeshClient } from "../../client/index.ts";
import type { Bus } from "../../service/bus.ts";
import type { ClientNote } from "./history.ts";
import { pick } from "./seeded.ts";

/** After a job's own time its ending is still awaited for this long, milliseconds; the machine is full of processes. */
export const GRACE_MS = 2500;

export interface JobToSend {
  job: string;
  dataClass: string;
  stream: boolean;
  timeoutMs: number;
  /** The client leaves in the middle. */
  cancel: boolean;
  random: () => number;
}

export type Submit = (job: JobToSend, write: (note: ClientNote) => void) => Promise<void>;

function prompt({ dataClass, job }: JobToSend): string {
  return `canary:${dataClass}:${job} Hi`;
}

/** Whether a text is the whole answer to a job, every piece once and in order. */
export function isWhole(text: string, job: string, pieces: number): boolean {
  const wanted = Array.from({ length: pieces }, (_, i) => `piece ${i + 1} of ${job} `).join("");
  return text === `${wanted}end of ${job}`;
}

/** MeshClient, as programs in a company use it. */
export function byMesh(client: MeshClient, pieces: number): Submit {
  return async (send, write) => {
    const { job, dataClass, stream, timeoutMs, cancel } = send;
    const leave = new AbortController();
    const request = { job_id: job, prompt: prompt(send), security_level: dataClass, timeout_ms: timeoutMs };
    const options = { signal: leave.signal };
    let ended = false;
    const end = (frame: Extract<StreamFrame, { type: "end" }>, text: string) => {
      ended = true;
      const how = frame.status === "finished" ? "answer" : (frame.error?.code ?? frame.status);
      write({ note: "ended", atMs: Date.now(), job, how, whole: isWhole(text, job, pieces), meshJob: frame.job_id });
    };
    const run = async () => {
      if (!stream) {
        const result = await client.submit(request, options);
        const content = result.message?.content;
        return end({ ...result, type: "end" }, typeof content === "string" ? content : "");
      }
      let text = "";
      for await (const frame of client.stream(request, options)) {
        if (frame.type === "accepted") write({ note: "accepted", atMs: Date.now(), job });
        else if (frame.type === "delta") text += frame.content ?? "";
        else if (frame.type === "end") end(frame, text);
      }
    };
    if (cancel) setTimeout(() => leave.abort(), 40);
    const limit = pause(timeoutMs + GRACE_MS, undefined, { ref: false });
    await Promise.race([run(), limit]).catch((error: unknown) => {
      ended = true;
      write({ note: "ended", atMs: Date.now(), job, how: `thrown: ${String(error)}` });
    });
    if (!ended) write({ note: "ended", atMs: Date.now(), job, how: "silence" });
  };
}

/** HTTP as the OpenAI SDK speaks it, to one of several gateways, without a second try. */
export function byHttp(gatewayUrls: readonly string[], pieces: number): Submit {
  return async (send, write) => {
    const { job, dataClass, stream, timeoutMs } = send;
    const end = (how: string, rest: { whole?: boolean; meshJob?: string } = {}) =>
      write({ note: "ended", atMs: Date.now(), job, how, ...rest });
    try {
      const response = await fetch(`${pick(gatewayUrls, send.random)}/v1/chat/completions`, {
        method: "POST",
        headers: {
          "Content-Type": "application/json",
          "Mesh-Class": dataClass,
          "X-Request-Timeout-Ms": String(timeoutMs),
          traceparent: traceOf(job),
        },
        body: JSON.stringify({ model: "auto", stream, messages: [{ role: "user", content: prompt(send) }] }),
        signal: AbortSignal.timeout(timeoutMs + GRACE_MS),
      });
      const body = await response.text();
      const meshJob = response.headers.get("x-tiermesh-job");
      const known = meshJob === null ? {} : { meshJob };
      const error = /"code":"(\w+)"/.exec(body)?.[1];
      if (error !== undefined) return end(error, known);
      const text = stream ? streamed(body) : whole(body);
      if (text === undefined) return end("nothing", known);
      end("answer", { ...known, whole: isWhole(text, job, pieces) });
    } catch (error) {
      const { name, cause } = error as { name: string; cause?: { code?: string } };
      end(name === "TimeoutError" ? "silence" : `tcp ${cause?.code ?? name}`);
    }
  };
}

/** W3C trace context by which a job of a gateway is found in the record: its trace is the client's own name for the job. */
export function traceOf(job: string): string {
  return `00-${Buffer.from(job).toString("hex").slice(-32)}-00f067aa0ba902b7-01`;
}

function whole(body: string): string | undefined {
  try {
    return (JSON.parse(body) as { choices: { message: { content: string } }[] }).choices[0]?.message.content;
  } catch {
    return undefined;
  }
}

/** The text of a stream that came to its end. */
function streamed(body: string): string | undefined {
  if (!body.includes("data: [DONE]")) return undefined;
  const events = body.split("\n").filter((line) => line.startsWith("data: {"));
  return events
    .map((line) => JSON.parse(line.slice(6)) as { choices: { delta?: { content?: string } }[] })
    .map(({ choices }) => choices[0]?.delta?.content ?? "")
    .join("");
}

/** What a hand-written client looks at of a reply. */
interface HandFrame {
  type?: string;
  status?: string;
  content?: string;
  message?: { content?: unknown } | null;
  error?: { code?: string } | null;
}

/** As the nats CLI does it: one request in JSON, no second try, and whatever comes to its inbox is written down. */
export function byHand(bus: Bus, pieces: number): Submit {
  const open = new Map<string, (frame: HandFrame, seq: string) => void>();
  bus.listen(`${bus.inbox}.*`, (msg) => {
    const take = open.get(msg.subject.slice(bus.inbox.length + 1));
    // The broker's own word: nobody listens.
    if (msg.headers?.code === 503 && msg.data.length === 0) take?.({ type: "end", status: "no_router" }, "");
    else take?.(msg.json(), msg.headers?.get(HEADERS.seq) ?? "");
  });
  return async (send, write) => {
    const { job, dataClass, stream, timeoutMs } = send;
    const first = Promise.withResolvers<void>();
    let text = "";
    const seqs: string[] = [];
    open.set(job, (frame, seq) => {
      seqs.push(seq);
      if (frame.type === "accepted") write({ note: "accepted", atMs: Date.now(), job });
      if (frame.type === "delta") text += frame.content ?? "";
      // A reply that is no stream's is one result.
      if (frame.status === undefined) return;
      const { error, message, status } = frame;
      const content = message?.content;
      const answer = typeof content === "string" ? content : text;
      const how = status === "finished" ? "answer" : (error?.code ?? status ?? "nothing");
      const whole = isWhole(answer, job, pieces);
      // Nobody looks at them before something is wrong.
      const heard = whole ? {} : { seqs: seqs.join(" ") };
      write({ note: "ended", atMs: Date.now(), job, how, whole, meshJob: job, ...heard });
      first.resolve();
    });
    const body = { job_id: job, prompt: prompt(send), security_level: dataClass, timeout_ms: timeoutMs, stream };
    bus.nc.publish(bus.subjects.submit("chat"), JSON.stringify(body), { reply: `${bus.inbox}.${job}` });
    const late = await Promise.race([first.promise, pause(timeoutMs + GRACE_MS, "late", { ref: false })]);
    if (late === "late") write({ note: "ended", atMs: Date.now(), job, how: "silence" });
    // Left open: a second answer would be written down too.
  };
}
