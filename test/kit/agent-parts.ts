import {
  HEADERS,
  RuntimeRecord,
  ServedModel,
  type DataClass,
  type Layer,
  type MeshError,
  type StreamFrame,
  type Verdict,
} from "../../bus-schemas/index.ts";
import { Intake } from "../../agent/intake.ts";
import type { Ended } from "../../agent/job.ts";
import type { EnergyMeter } from "../../agent/model/energy.ts";
import { RuntimeDesk } from "../../agent/runtime-desk.ts";
import type { RuntimeChunk, RuntimeJob, RuntimeState } from "../../agent/runtimes/runtime.ts";
import type { RunHandlers } from "../../agent/work/work-thread.ts";
import type { Bus } from "../../service/bus.ts";
import { decode } from "../../service/codec.ts";
import { createLog } from "../../service/log.ts";
import { FakeBus, FakeEvents } from "./router-parts.ts";

/** A run that the agent asked its work thread for; a test plays the runtime. */
interface FakeRun {
  id: number;
  runtime: string;
  job: RuntimeJob;
  cancelled: boolean;
  say(content: string): void;
  chunk(chunk: RuntimeChunk): void;
  done(): void;
  fail(error: MeshError): void;
}

/** Stands in for the work thread. */
export class FakeWork {
  readonly runs: FakeRun[] = [];

  run(runtime: string, job: RuntimeJob, handlers: RunHandlers): number {
    const id = this.runs.length;
    const chunk = (piece: RuntimeChunk) => handlers.onChunk(piece);
    this.runs.push({
      id,
      runtime,
      job,
      cancelled: false,
      chunk,
      say: (content) => chunk({ type: "delta", content }),
      done: () =>
        chunk({
          type: "done",
          finishReason: "stop",
          usage: { prompt_tokens: 3, completion_tokens: 2, estimated: true },
        }),
      fail: (error) => handlers.onFailed(error),
    });
    return id;
  }

  cancel(id: number): void {
    const run = this.runs[id];
    if (run !== undefined) run.cancelled = true;
  }
}

/** A healthy runtime with one slot that serves `models`. */
export function runtimeState(
  name: string,
  models: readonly string[],
  record: Partial<Pick<RuntimeRecord, "slots" | "diagnostic" | "healthy">> = {},
): RuntimeState {
  return {
    record: RuntimeRecord.parse({ name, kind: name, ...record }),
    models: models.map((model) => ServedModel.parse({ name: model, runtime: name })),
  };
}

export const INBOX = "_INBOX.caller.1";
const VERDICT = "mesh.main.job.verdict.router-1.n1.1";

/** Headers of a run message as a router writes them; undefined leaves one out. */
export function runHeaders(overrides: Readonly<Record<string, string | undefined>> = {}): Record<string, string> {
  const all: Record<string, string | undefined> = {
    [HEADERS.job]: "job-00000001",
    [HEADERS.dataClass]: "P2",
    [HEADERS.deadline]: String(Date.now() + 60_000),
    [HEADERS.reply]: INBOX,
    [HEADERS.model]: "tiny",
    [HEADERS.attempt]: "1",
    [HEADERS.decision]: "01DECISION",
    ...overrides,
  };
  return Object.fromEntries(Object.entries(all).filter((entry): entry is [string, string] => entry[1] !== undefined));
}

/** An agent's intake and desk over a fake bus and a fake work thread, with one runtime that serves `tiny`. */
export function agentParts({
  layer = "L0",
  slots = 1,
  inbox = "_INBOX.agent",
  energy,
}: { layer?: Layer; slots?: number; inbox?: string; energy?: EnergyMeter } = {}) {
  const bus = Object.assign(new FakeBus(), { inbox });
  const events = new FakeEvents();
  const work = new FakeWork();
  const rejected: { kind: string; error: MeshError }[] = [];
  const ended: Ended[] = [];
  const stance: { closedBecause: string | undefined } = { closedBecause: undefined };
  const desk = new RuntimeDesk(() => work);
  desk.update([runtimeState("ollama", ["tiny"], { slots })]);
  const rejections = { add: (kind: string, error: MeshError) => void rejected.push({ kind, error }) };
  const intake = new Intake({
    nodeId: "n1",
    layer,
    bus: bus as unknown as Bus,
    events: events as never,
    rejections: rejections as never,
    log: createLog("test", "silent"),
    desk,
    closedBecause: () => stance.closedBecause,
    load: () => desk.load(),
    energy,
    onEnded: (job, end) => {
      desk.release(job);
      ended.push(end);
    },
  });
  intake.start();
  const submit = (
    body: unknown = { prompt: "hello", stream: true },
    headers: Readonly<Record<string, string | undefined>> = {},
    dataClass: DataClass = "P2",
  ) => bus.deliver(bus.subjects.run(dataClass, "n1"), body, { reply: VERDICT, headers: runHeaders(headers) });
  const read = (prefix: string) =>
    bus.on(prefix).map(({ data, headers }) => decode(data, headers?.get(HEADERS.contentType)));
  return {
    bus,
    events,
    work,
    desk,
    intake,
    rejected,
    ended,
    stance,
    submit,
    verdicts: () => read(VERDICT) as Verdict[],
    frames: (inbox = INBOX) => read(inbox) as StreamFrame[],
    seqs: (inbox = INBOX) => bus.on(inbox).map(({ headers }) => headers?.get(HEADERS.seq)),
  };
}
