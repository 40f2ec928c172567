import { readFileSync, readdirSync } from "node:fs";
import path from "node:path";
import type { LogEntry } from "../../bus-schemas/index.ts";
import type { TestBus } from "./bus.ts";
import { startProc, type Proc } from "./proc.ts";

const MAIN = path.join(import.meta.dirname, "..", "..", "auditor", "main.ts");

export interface AuditorProc extends Proc {
  /** What `GET /health` says; once it was ready. */
  health: () => Promise<Record<string, unknown>>;
  /** Where it serves `/health` and `/metrics`. */
  healthUrl: () => string;
}

interface AuditorProcOptions {
  env?: Readonly<Record<string, string | undefined>>;
  /** For node itself. */
  nodeFlags?: readonly string[];
  wait?: boolean;
}

/** Starts an auditor on a test's bus, with small segments. @param wait until it is ready */
export async function startAuditor(
  server: TestBus,
  folder: string,
  { env = {}, nodeFlags = [], wait = true }: AuditorProcOptions = {},
): Promise<AuditorProc> {
  const proc = startProc(MAIN, {
    nodeFlags,
    env: {
      TIERMESH_NATS_URL: server.url,
      TIERMESH_NATS_USER: server.user,
      TIERMESH_NATS_PASSWORD: server.pass,
      TIERMESH_AUDIT_DIR: folder,
      TIERMESH_AUDIT_SEGMENT_BYTES: "65536",
      // Most tests count the stream's messages.
      TIERMESH_AUDIT_CANARY_MS: "3600000",
      LOG_LEVEL: "info",
      ...env,
    },
  });
  let port = 0;
  if (wait)
    port = (JSON.parse((await proc.waitForLine(/^\{"ready":true.*$/, 30_000))[0]) as { health_port: number })
      .health_port;
  const healthUrl = () => `http://127.0.0.1:${port}`;
  const health = async () => (await (await fetch(`${healthUrl()}/health`)).json()) as Record<string, unknown>;
  return { ...proc, health, healthUrl };
}

/** The entries in the segments of an auditor's folder, in order. */
export function linesOf(folder: string): LogEntry[] {
  const files = readdirSync(folder).filter((name) => name.endsWith(".jsonl"));
  const lines = files
    .toSorted()
    .flatMap((name) => readFileSync(path.join(folder, name), "utf8").trimEnd().split("\n").slice(1));
  return lines.map((line) => JSON.parse(line) as LogEntry);
}
