/**
 * A program that answers as llama.cpp's server does, slowly, and notes what it ran: `node fake-runtime.ts --port --notes
 * --slots --pieces --every-ms`. A prompt's canary (`canary:<class>:<job>`) is noted with the times, never the prompt. What it
 * says can be checked: `piece 1 of <job> piece 2 of <job> … end of <job>`.
 */
import { appendFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { CHAT, deltaEvent, event, startServer } from "./runtime-servers.ts";
import { SURFACES } from "./runtime-surfaces.ts";

const { values } = parseArgs({
  options: {
    port: { type: "string" },
    notes: { type: "string" },
    slots: { type: "string" },
    pieces: { type: "string" },
    "every-ms": { type: "string" },
  },
});
const pieces = Number(values.pieces);
const everyMs = Number(values["every-ms"]);
let running = 0;
let runs = 0;

/** A line of the notes. */
export interface RuntimeNote {
  atMs: number;
  note: "began" | "ended" | "left";
  run: string;
  job: string;
  dataClass: string;
  /** How many run now, this one included. */
  running: number;
}

function write(note: RuntimeNote): void {
  appendFileSync(values.notes ?? "", `${JSON.stringify(note)}\n`);
}

function answer(_request: unknown, response: import("node:http").ServerResponse, body: string): void {
  const [, dataClass = "none", job = "none"] = /canary:(P[012]):([A-Za-z0-9_-]+)/.exec(body) ?? [];
  const run = `${process.pid}-${++runs}`;
  const note = (what: RuntimeNote["note"]) => write({ atMs: Date.now(), note: what, run, job, dataClass, running });
  running++;
  note("began");
  response.writeHead(200, { "content-type": "text/event-stream" });
  let sent = 0;
  const timer = setInterval(() => {
    if (sent++ < pieces) return void response.write(deltaEvent({ content: `piece ${sent} of ${job} ` }));
    clearInterval(timer);
    response.end(deltaEvent({ content: `end of ${job}` }) + deltaEvent({}, "stop") + event("[DONE]"));
  }, everyMs);
  response.on("close", () => {
    clearInterval(timer);
    running--;
    note(response.writableFinished ? "ended" : "left");
  });
}

const surface = SURFACES.find(({ kind }) => kind === "llama-server");
if (surface === undefined) throw new Error("no such surface");
const props = { ...(surface.routes["GET /props"] as object), total_slots: Number(values.slots) };
await startServer({ ...surface.routes, "GET /props": props, [CHAT]: answer }, surface.headers, Number(values.port));
process.stdout.write(`${JSON.stringify({ ready: true })}\n`);
process.on("SIGTERM", () => process.exit(0));
