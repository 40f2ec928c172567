import { pino, type DestinationStream, type Logger } from "pino";

export type Log = Logger;

/** Fields that may hold content or secrets; they are replaced wherever they appear, up to four levels down. */
const SECRET_FIELDS = [
  "messages",
  "prompt",
  "content",
  "authorization",
  "Authorization",
  "cookie",
  "x-api-key",
  "password",
  "pass",
  "token",
  "api_key",
  "apiKey",
  "key",
  "seed",
];

const LEVELS = ["fatal", "error", "warn", "info", "debug", "trace", "silent"];

/** SEED writes `LOG_LEVEL="INFO"`; pino wants lower case. Unknown levels count as `info`. */
export function logLevel(value: string | undefined): string {
  const level = (value ?? "info").toLowerCase();
  return LEVELS.includes(level) ? level : level === "warning" ? "warn" : "info";
}

/**
 * JSON lines on standard error: standard output belongs to what a person asked for. Errors are logged by type, message and
 * stack; their other properties are not (an HTTP client's error can carry a request's body).
 */
export function createLog(
  name: string,
  level: string | undefined = process.env["LOG_LEVEL"],
  destination: DestinationStream = pino.destination({ fd: 2, sync: false }),
): Log {
  return pino(
    {
      name,
      level: logLevel(level),
      redact: { paths: SECRET_FIELDS.flatMap(atAnyLevel), censor: "[redacted]" },
      serializers: { err: describeError },
    },
    destination,
  );
}

/** A field's paths in pino's notation, from the top to four levels down. */
function atAnyLevel(field: string): string[] {
  return ["", "*", "*.*", "*.*.*", "*.*.*.*"].map((above) => `${above}["${field}"]`);
}

function describeError(error: unknown): object {
  if (!(error instanceof Error)) return { type: typeof error };
  const code = (error as { code?: unknown }).code;
  // What JSON.parse throws quotes its input, and a stack begins with the message: of the stack only the frames are kept.
  const message = error instanceof SyntaxError ? "(not shown: it may quote its input)" : error.message.slice(0, 500);
  const frames = error.stack?.split("\n").filter((line) => /^ {4}at /.test(line)) ?? [];
  return { type: error.name, message, ...(code === undefined ? {} : { code }), stack: frames.join("\n") };
}
