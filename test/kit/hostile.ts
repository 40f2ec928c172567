import { randomUUID } from "node:crypto";
import { headers as newHeaders, type Msg, type MsgHdrs } from "@nats-io/nats-core";
import { expect } from "vitest";
import { ERROR_CODES, STRUCTURES_VERSION, type WireError } from "../../bus-schemas/index.ts";
import type { Bus } from "../../service/bus.ts";
import { SHARED_CONTENT_TYPE, decode, encode } from "../../service/codec.ts";
import { header } from "../../service/messages.ts";
import type { TestMesh } from "./mesh.ts";

export type Headers = Readonly<Record<string, string>>;

/** In every prompt and in all garbage; no log, no audit entry and no metric may ever hold it. */
export const CANARY = `CANARY-${randomUUID()}`;

/** A subject for each channel of the contract, with this mesh's own names in its places. */
export const PLACES: Record<string, string> = {
  cell: "main",
  layer: "L0",
  node: "here",
  queue: "chat",
  class: "P0",
  router: "learned from a job",
  dispatch: "0",
  job: "no-such-job",
  type: "job_ended",
  severity: "warning",
  rule: "none",
  version: STRUCTURES_VERSION,
};
/** The channel's subject, once `PLACES` is known. */
export function subjectOf(address: string): string {
  return address.replace(/\{(\w+)\}/g, (_, place: string) => PLACES[place] ?? place);
}
/** Channels whose sender gets an answer: there garbage is answered with a typed error. */
export const ANSWERING = ["jobSubmit", "jobRoute", "nodeControl", "auditQuery"];

export function natsHeaders(values: Headers): MsgHdrs {
  const headers = newHeaders();
  for (const [name, value] of Object.entries(values)) headers.set(name, value);
  return headers;
}

/** Asks, and reads the typed error out of whatever came back. */
export async function errorOf(
  bus: Bus,
  subject: string,
  body: Uint8Array | string,
  headers: Headers = {},
): Promise<WireError> {
  const reply: Msg = await bus.nc.request(subject, body, { timeout: 5000, headers: natsHeaders(headers) });
  const { error } = decode(reply.data, header(reply, "Content-Type")) as { error?: WireError };
  expect(reply.string()).not.toContain(CANARY);
  expect(ERROR_CODES).toHaveProperty(error?.code ?? "no error");
  return error as WireError;
}

/** Everything that the mesh's processes have written or tell: logs, audit log, output, metrics. */
export async function written(mesh: TestMesh): Promise<string[]> {
  const metrics = await Promise.all(
    mesh
      .file()
      .processes.map(async ({ health_port: port }) => (await fetch(`http://127.0.0.1:${port}/metrics`)).text()),
  );
  return [...mesh.texts("logs"), ...mesh.texts("audit"), ...mesh.proc.lines, ...mesh.proc.errors, ...metrics];
}

const good = { job_id: "no-such-job", prompt: CANARY };
/** What, the body, the headers. None of it is a good message on any channel. */
export const GARBAGE: [string, Uint8Array | string, Headers][] = [
  ["nothing", "", {}],
  ["bytes", Buffer.concat([Buffer.from([0, 255, 254, 0xc1, 0x80]), Buffer.from(CANARY)]), {}],
  ["half of a JSON object", `{"prompt":"${CANARY}`, {}],
  ["a JSON string", JSON.stringify(CANARY), {}],
  ["a JSON array", JSON.stringify([CANARY]), {}],
  ["null", "null", {}],
  ["endless depth", "[".repeat(100_000) + CANARY, {}],
  ["truncated msgpack", encode(good, "msgpack").subarray(0, -5), { "Content-Type": "application/msgpack" }],
  ["truncated shared msgpack", encode(good, "shared").subarray(0, -5), { "Content-Type": SHARED_CONTENT_TYPE }],
  ["JSON said to be msgpack", JSON.stringify(good), { "Content-Type": "application/msgpack" }],
  ["msgpack said to be JSON", encode(good, "msgpack"), { "Content-Type": "application/json" }],
  [
    "a foreign table of structures",
    encode(good, "shared"),
    { "Content-Type": "application/vnd.tiermesh.msgpack; v=0badc0de" },
  ],
  ["an unknown Content-Type", JSON.stringify(good), { "Content-Type": "text/html" }],
];
