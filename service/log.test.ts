import { expect, test } from "vitest";
import { createLog, logLevel } from "./log.ts";

function logged(write: (log: ReturnType<typeof createLog>) => void, level = "trace"): string {
  let text = "";
  write(createLog("test", level, { write: (line) => void (text += line) }));
  return text;
}

const SECRET = "s3cr3t-value";

test("content and secrets are removed wherever they stand, up to four levels down", () => {
  const fields = [
    "messages",
    "prompt",
    "content",
    "authorization",
    "Authorization",
    "password",
    "pass",
    "token",
    "api_key",
    "apiKey",
    "key",
    "seed",
    "cookie",
    "x-api-key",
  ];
  for (const field of fields) {
    let value: object = { [field]: SECRET, kept: "visible" };
    for (let depth = 0; depth <= 4; depth++) {
      const text = logged((log) => log.info(value, "hello"));
      expect(text, `${field} at depth ${depth}`).not.toContain(SECRET);
      expect(text).toContain("visible");
      value = { wrapped: value };
    }
  }
});

test("secrets in lists and in a child's own fields are removed too", () => {
  expect(
    logged((log) => log.info({ jobs: [{ prompt: SECRET }, { messages: [{ role: "user", content: SECRET }] }] }, "x")),
  ).not.toContain(SECRET);
  expect(logged((log) => log.child({ token: SECRET, request: { password: SECRET } }).info("x"))).not.toContain(SECRET);
});

test("of an error only type, message, code and frames are written", () => {
  const error = Object.assign(new Error("no answer"), {
    code: "ECONNREFUSED",
    request: { body: SECRET },
    config: { data: SECRET },
  });
  const text = logged((log) => log.error({ err: error }, "failed"));
  expect(text).not.toContain(SECRET);
  const { err } = JSON.parse(text) as { err: Record<string, string> };
  expect(err).toMatchObject({ type: "Error", message: "no answer", code: "ECONNREFUSED" });
  expect(err["stack"]).toContain("log.test.ts");
});

test("an error that quotes the text it could not parse is logged without the quote", () => {
  let error: unknown;
  try {
    JSON.parse(`{"prompt": ${SECRET}`);
  } catch (caught) {
    error = caught;
  }
  expect((error as Error).message).toContain(SECRET.slice(0, 4));
  const text = logged((log) => log.error({ err: error }, "failed"));
  expect(text).not.toContain(SECRET.slice(0, 4));
  expect(text).toContain("SyntaxError");
});

test("what was thrown and is no error is not written at all", () => {
  expect(logged((log) => log.error({ err: SECRET }, "failed"))).not.toContain(SECRET);
});

test("LOG_LEVEL is understood as SEED writes it, and nonsense counts as info", () => {
  expect([logLevel("INFO"), logLevel("Warning"), logLevel("debug"), logLevel(undefined), logLevel("loud")]).toEqual([
    "info",
    "warn",
    "debug",
    "info",
    "info",
  ]);
  expect(logged((log) => log.info("x"), "WARN")).toBe("");
});
