/**
 * The guardian: a small process between ours and the nats-server, so that the server never outlives us.
 * `node guardian.ts <binary> <args…>`.
 *
 * It is the server's parent, so it kills by child handle and never hits a process that reuses an id. It holds the read
 * end of a pipe (its standard input) whose only write end is in our process: however we end, kill -9 included, the
 * system closes it, and the end of input makes the guardian stop the server. This works alike on all platforms, where
 * a parent-death signal exists on Linux only.
 *
 * The other losses:
 * - server killed: the guardian reports it and ends.
 * - guardian killed: we see it end and kill the server (guard.ts).
 * - guardian and we killed together: the server's log pipe is broken, so it dies of SIGPIPE with its next log line;
 *   and the next start on the same folder ends it first (leftover.ts).
 *
 * It runs in a process group of its own: Ctrl-C in a terminal reaches us, and we stop the bus last.
 * Standard output: one JSON object a line (GuardianReport). Standard error: the server's log, unchanged.
 */
import { spawn } from "node:child_process";

/** What the guardian tells, one JSON object a line. */
export type GuardianReport =
  | { event: "started"; pid: number }
  | { event: "failed"; message: string }
  | { event: "exited"; code: number | null; signal: NodeJS.Signals | null };

/** Time for an orderly end (JetStream flushes) before SIGKILL, milliseconds. */
const STOP_LIMIT_MS = 5000;

const [binary = "", ...args] = process.argv.slice(2);

// Our reader may be gone, and the server must still be stopped in order.
for (const stream of [process.stdout, process.stderr]) stream.on("error", () => {});

const server = spawn(binary, args, { stdio: ["ignore", "ignore", "pipe"], windowsHide: true });
server.stderr.on("data", (chunk: Buffer) => process.stderr.write(chunk));
server.on("spawn", () => report({ event: "started", pid: server.pid ?? 0 }));
server.on("error", (error) => end({ event: "failed", message: error.message }));
// "close" and not "exit": the last log lines have then been passed on.
server.on("close", (code, signal) => end({ event: "exited", code, signal }));

process.stdin.on("end", stop).on("error", stop).resume();
for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) process.on(signal, stop);

function stop() {
  server.kill("SIGTERM");
  setTimeout(() => server.kill("SIGKILL"), STOP_LIMIT_MS).unref();
}

function report(line: GuardianReport) {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

function end(line: GuardianReport) {
  process.stdout.write(`${JSON.stringify(line)}\n`, () => process.exit(0));
}
