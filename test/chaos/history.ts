import { readFileSync, readdirSync } from "node:fs";
import path from "node:path";

/** How a job was submitted: by MeshClient, as an SDK does by HTTP, or by hand as the nats CLI does. */
export const WAYS = ["mesh", "http", "hand"] as const;
export type Way = (typeof WAYS)[number];

/** A line in a client's own file: what it sent and what it got, as it saw it. */
export type ClientNote =
  | {
      note: "sent";
      atMs: number;
      /** The client's own name for the job; its canary, and for `mesh` and `hand` the job's id. */
      job: string;
      way: Way;
      dataClass: string;
      stream: boolean;
      /** An ending, whichever, is due this long after it was sent, milliseconds. */
      limitMs: number;
      /** What the client itself did to it, of which it expects the ending. */
      expects?: "cancelled" | "deadline_exceeded";
    }
  | { note: "accepted"; atMs: number; job: string }
  | {
      note: "ended";
      atMs: number;
      job: string;
      /** "answer", an error's code, "tcp …", or "silence" when nothing came within the limit. */
      how: string;
      /** Of an answer: it is this job's, and nothing of it is missing or there twice. */
      whole?: boolean;
      /** Numbers of the frames of an answer that is not whole, in the order in which they came. */
      seqs?: string;
      /** As the mesh told it. */
      meshJob?: string;
    };

/** What was done to the mesh, in the order in which it was done. */
export interface FaultNote {
  name: string;
  /** Which part or machine. */
  target: string;
  /** A server, the network or a process that jobs in hand depend on: callers by hand may lose their one try. */
  injectedMs: number;
  releasedMs: number;
  /** When every way in had answered a job that was sent after the release; undefined = never. */
  healedMs?: number | undefined;
}

/** One job as its client saw it. */
export interface ClientJob {
  job: string;
  way: Way;
  dataClass: string;
  stream: boolean;
  sentMs: number;
  limitMs: number;
  expects?: string | undefined;
  acceptedMs: number | undefined;
  endings: {
    atMs: number;
    how: string;
    whole: boolean;
    meshJob: string | undefined;
    /** As in the note. */
    seqs?: string;
  }[];
}

/** All lines of all files of a folder. A line that a crash cut off ends its file. */
export function readNotes<T>(folder: string): T[] {
  return readdirSync(folder)
    .filter((name) => name.endsWith(".ndjson"))
    .flatMap((name) =>
      readFileSync(path.join(folder, name), "utf8")
        .split("\n")
        .slice(0, -1)
        .map((line) => ({ ...(JSON.parse(line) as T), file: name })),
    );
}

export function toJobs(notes: readonly ClientNote[]): ClientJob[] {
  const jobs = new Map<string, ClientJob>();
  for (const note of notes) {
    if (note.note === "sent") {
      const { job, way, dataClass, stream, atMs: sentMs, limitMs, expects } = note;
      jobs.set(job, { job, way, dataClass, stream, sentMs, limitMs, expects, acceptedMs: undefined, endings: [] });
      continue;
    }
    const job = jobs.get(note.job);
    if (job === undefined) continue;
    if (note.note === "accepted") job.acceptedMs ??= note.atMs;
    else job.endings.push({ ...note, whole: note.whole ?? false, meshJob: note.meshJob });
  }
  return [...jobs.values()];
}
