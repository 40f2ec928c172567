import { JobRequest, NodeRecord, StreamFrame, parseOrThrow } from "../../bus-schemas/index.ts";
import { contentType, decode, encode, type Encoding } from "../../service/codec.ts";
import type { Bench, Report } from "./bench.ts";
import { paired } from "./harness.ts";
import { DELTA, busyNode, chatJob, jobEnd } from "./samples.ts";

const ENCODINGS = { JSON: "json", "plain msgpack": "msgpack", "shared structures": "shared" } as const satisfies Record<
  string,
  Encoding
>;
const JOB_ID = "01K9ZQ6V3M8N5T2R7W4X1Y0ABC";
const TIMES = 5000;

/** What goes over the bus most, with the schema that its reader checks it by. */
const MESSAGES = {
  heartbeat: { value: busyNode("gpu-server-07"), schema: NodeRecord },
  job: { value: chatJob({ job_id: JOB_ID, stream: true }), schema: JobRequest },
  "delta frame": { value: DELTA, schema: StreamFrame },
  "end frame": { value: jobEnd(JOB_ID, "gpu-server-07"), schema: StreamFrame },
} as const;

/** Encoding and decoding against JSON, for what goes over the bus most. */
export const codec: Bench = { summary: "JSON against msgpack, plain and with shared structures: time and size", run };

async function run(report: Report): Promise<void> {
  for (const [name, { value, schema }] of Object.entries(MESSAGES)) {
    const bodies = Object.entries(ENCODINGS).map(([label, encoding]) => ({
      label,
      encoding,
      type: contentType(encoding),
      body: Uint8Array.from(encode(value, encoding)),
    }));
    report.add(
      await paired(
        `encode, ${name}`,
        Object.fromEntries(bodies.map(({ label, encoding }) => [label, () => repeat(() => encode(value, encoding))])),
      ),
    );
    report.add(
      await paired(
        `decode, ${name}`,
        Object.fromEntries([
          ...bodies.map(({ label, body, type }) => [label, () => repeat(() => decode(body, type))]),
          ...bodies
            .slice(-1)
            .map(({ label, body, type }) => [
              `${label}, and checked`,
              () => repeat(() => parseOrThrow(schema, decode(body, type))),
            ]),
        ]),
      ),
    );
    report.note(bodies.map(({ label, body }) => `${label} ${body.length} bytes`).join(", "));
  }
}

function repeat(work: () => unknown): number {
  let last: unknown;
  for (let i = 0; i < TIMES; i++) last = work();
  // Using the result keeps the compiler from leaving the work out.
  if (last === undefined) throw new Error("nothing came of it");
  return TIMES;
}
