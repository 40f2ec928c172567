import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { HEADERS, type StreamFrame } from "../../bus-schemas/index.ts";
import { connectBus } from "../../service/bus.ts";
import { encode } from "../../service/codec.ts";
import { createLog } from "../../service/log.ts";
import { header, headersFor } from "../../service/messages.ts";
import { addressFromEnv } from "./bus-address.ts";
import { serveParent } from "./child.ts";
import { DELTA, MODELS, jobEnd } from "./samples.ts";

/** Pieces of an answer. */
const DELTAS = 16;

/** The same streamed answer on both ways: as frames to whoever submits a job, and as SSE to whoever asks by HTTP. */
const bus = await connectBus("bench-upstream", addressFromEnv(), createLog("bench", "warn"));
bus.listen(bus.subjects.submits, (msg) => {
  const jobId = header(msg, HEADERS.job) ?? "";
  const node = { node_id: "node-0", layer: "L1", model: MODELS[0], security_level: "P2" } as const;
  const frames: StreamFrame[] = [
    { type: "accepted", job_id: jobId, ...node, diagnostic: false, decision_id: null, cold_start_ms: null },
    ...Array.from({ length: DELTAS }, () => DELTA),
    jobEnd(jobId, node.node_id),
  ];
  for (const [seq, frame] of frames.entries())
    msg.respond(encode(frame, "shared"), { headers: headersFor("shared", { [HEADERS.seq]: String(seq) }) });
});
await bus.nc.flush();

const chunk = (delta: object, finish: string | null) =>
  `data: ${JSON.stringify({
    id: "chatcmpl-01K9ZQ6V3M8N5T2R7W4X1Y0ABC",
    object: "chat.completion.chunk",
    created: 1_800_000_000,
    model: MODELS[0],
    choices: [{ index: 0, delta, logprobs: null, finish_reason: finish }],
  })}\n\n`;
const chunks = [
  chunk({ role: "assistant", content: "", refusal: null }, null),
  ...Array.from({ length: DELTAS }, () => chunk({ content: " maintenance" }, null)),
  `${chunk({}, "stop")}data: [DONE]\n\n`,
];
const server = createServer((request, response) => {
  request.resume().once("end", () => {
    response.writeHead(200, { "content-type": "text/event-stream" });
    for (const text of chunks) response.write(text);
    response.end();
  });
});
server.listen(0, "127.0.0.1", () => serveParent({ port: (server.address() as AddressInfo).port }));
