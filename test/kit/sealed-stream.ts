import { expect } from "vitest";
import {
  HEADERS,
  JobResult,
  type JobRequestInput,
  type MeshError,
  type StreamFrame,
  type Ticket,
} from "../../bus-schemas/index.ts";
import type { StreamOptions } from "../../client/attempt.ts";
import { streamJob } from "../../client/job-stream.ts";
import { encode } from "../../service/codec.ts";
import { headersFor } from "../../service/messages.ts";
import {
  TicketSigner,
  newNodeKey,
  openJob,
  paddedJson,
  publicText,
  type FrameKey,
} from "../../service/sealing/index.ts";
import { FakePort } from "./fake-port.ts";

export const JOB = "job-00000001";
export const SECRET = "the-secret";
export const ACCEPTED = {
  type: "accepted",
  job_id: JOB,
  node_id: "n1",
  layer: "L0",
  model: "tiny",
  security_level: "P0",
};
export const END = { type: "end", job_id: JOB, status: "finished" };
/** A router's answer to the request for a ticket, but for the ticket. */
export const TICKET_REPLY = { sealed: true, security_level: "P0", attempts_left: 2 };

const signer = new TicketSigner();
const keys = await newNodeKey();

/** A job under way; the test plays router and node. */
export function sealedRun(
  request: JobRequestInput = { prompt: SECRET, security_level: "P0" },
  options: Partial<StreamOptions> = {},
) {
  const port = new FakePort();
  const frames = (async () => {
    const all: StreamFrame[] = [];
    for await (const frame of streamJob(port, request, JOB, { queue: "chat", ...options })) all.push(frame);
    return all;
  })();
  /** Waits until the client has published so often. */
  const published = async (count: number) => {
    while (port.submits.length < count) await new Promise(setImmediate);
    const last = port.submits[count - 1];
    if (last === undefined) throw new Error("nothing published");
    return last;
  };
  const reply = (body: object) => port.raw(encode(body, "json"));
  const give = (node = "n1", { attemptsLeft = 2, publicKey = publicText(keys), ...more } = {} as Give) => {
    const ticket = { ...ticketFor(node, publicKey), ...more };
    reply({ ...TICKET_REPLY, ticket: signer.sign(ticket), attempts_left: attemptsLeft });
  };
  const refuse = (error: MeshError) =>
    reply(JobResult.parse({ job_id: JOB, status: "refused", node_id: "n1", error: error.toWire() }));
  return { port, frames, published, reply, give, refuse };
}

type Give = Partial<Ticket> & { attemptsLeft?: number; publicKey?: string };

function ticketFor(node: string, publicKey: string): Ticket {
  const nowMs = Date.now();
  const times = { issued_unix_ms: nowMs, expires_unix_ms: nowMs + 30_000, deadline_unix_ms: nowMs + 60_000 };
  const about = { job: JOB, class: "P0", node, layer: "L0", boot_id: "b", model: "tiny", kid: "k1" } as const;
  const router = { v: 1, router: "r", signer: signer.kid, id: "1", decision_id: "d", attempt: 1 } as const;
  return { ...router, ...about, ...times, public_key: publicKey };
}

/** What the node makes of a sealed message. */
export async function opened(
  { data, headers }: { data: Uint8Array; headers: { get(name: string): string } },
  node = "n1",
) {
  const own = { cell: "mesh.main", node, kid: "k1", keys };
  const { body, answer } = await openJob(data, headers.get(HEADERS.seal), own, headers.get(HEADERS.ticket), JOB);
  return { job: JSON.parse(new TextDecoder().decode(body)) as Record<string, unknown>, key: answer };
}

export function say(
  port: FakePort,
  key: FrameKey,
  frames: readonly object[],
  from = 0,
  change = (data: Uint8Array) => data,
) {
  for (const [i, frame] of frames.entries()) {
    const headers = headersFor("json", { [HEADERS.seq]: String(from + i) });
    headers.set(HEADERS.contentType, "application/x-tiermesh-sealed");
    port.raw(change(key.seal(from + i, paddedJson(frame))), headers);
  }
}

export async function accepted() {
  const job = sealedRun();
  await job.published(1);
  job.give();
  const { key } = await opened(await job.published(2));
  say(job.port, key, [ACCEPTED]);
  return { ...job, key };
}

export const endOf = (frames: StreamFrame[]) => {
  expect(frames.filter(({ type }) => type === "end")).toHaveLength(1);
  return frames.at(-1);
};
