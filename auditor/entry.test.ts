import fc from "fast-check";
import { expect, test } from "vitest";
import { AuditEntry, RejectedEntry } from "../bus-schemas/index.ts";
import { decide } from "../router/policy/decide.ts";
import { NOW_MS, fleetOf, policyOf, routeRequest, seeded } from "../test/kit/routing.ts";
import { toEntry, type StoredMessage } from "./entry.ts";

const left = { node_id: "n1", layer: "L1", reason: null };
const goodHeaders: Record<string, string> = {
  "ce-specversion": "1.0",
  "ce-id": "01J0000000000000000000000A",
  "ce-source": "router/r1",
  "ce-type": "tiermesh.node_left",
  "ce-time": "2026-01-02T03:04:05.678Z",
};

function message(
  over: { subject?: string; body?: string | Uint8Array; headers?: Record<string, string> } = {},
): StoredMessage {
  const {
    subject = "mesh.main.event.node_left.none.router.r1",
    body = JSON.stringify(left),
    headers = goodHeaders,
  } = over;
  const data = typeof body === "string" ? new TextEncoder().encode(body) : body;
  return { subject, streamSequence: 7, data, header: (name) => headers[name] ?? "" };
}

function reasonOf(stored: StoredMessage): string {
  return RejectedEntry.parse(toEntry(stored, 3)).rejected.reason;
}

test("an event becomes an entry with its CloudEvents attributes and its place", () => {
  const entry = toEntry(message(), 3);
  expect(AuditEntry.parse(entry)).toEqual({
    sequence: 3,
    stream_sequence: 7,
    job_id: null,
    id: goodHeaders["ce-id"],
    source: "router/r1",
    type: "node_left",
    time: "2026-01-02T03:04:05.678Z",
    security_level: null,
    traceparent: null,
    data: left,
  });
});

test("fields that the event's schema does not name do not enter the log", () => {
  const entry = toEntry(message({ body: JSON.stringify({ ...left, prompt: "the secret plan" }) }), 1);
  expect(entry).not.toHaveProperty("rejected");
  expect(JSON.stringify(entry)).not.toContain("secret plan");
});

test("what is no event is kept as rejected, with the reason and without its body", () => {
  expect(reasonOf(message({ headers: {} }))).toBe("ce-type: not an event of this mesh");
  expect(reasonOf(message({ headers: { ...goodHeaders, "ce-type": "tiermesh.constructor" } }))).toBe(
    "ce-type: not an event of this mesh",
  );
  expect(reasonOf(message({ subject: "mesh.main.event.node_left.P9.router.r1" }))).toContain("P0");
  expect(reasonOf(message({ body: '{"node_id":"secret pl' }))).toBe("the body is not JSON");
  expect(reasonOf(message({ body: Uint8Array.of(0xff, 0xfe) }))).toBe("the body is not JSON");
  expect(reasonOf(message({ body: JSON.stringify({ ...left, layer: "secret plan" }) }))).toMatch(/^layer: /);
  expect(reasonOf(message({ headers: { ...goodHeaders, "ce-time": "yesterday" } }))).toMatch(/^time: /);
  const body = JSON.stringify({ ...left, layer: "secret plan" });
  const entry = toEntry(message({ body }), 1);
  expect(JSON.stringify(entry)).not.toContain("secret plan");
  expect(entry).toMatchObject({
    rejected: { subject: "mesh.main.event.node_left.none.router.r1", size_bytes: body.length },
  });
});

test("an event that says otherwise than its subject is kept as rejected", () => {
  const on = (rest: string) => reasonOf(message({ subject: `mesh.main.event.${rest}` }));
  expect(on("node_lost.none.router.r1")).toBe("ce-type: not the type of the subject");
  for (const other of ["router.r2", "agent.r1", "router.R1"])
    expect(on(`node_left.none.${other}`)).toBe("ce-source: not the source of the subject");
  for (const source of ["", "router", "router/r1/", "router/r1 ", "router.r1"])
    expect(reasonOf(message({ headers: { ...goodHeaders, "ce-source": source } }))).toBe(
      "ce-source: not the source of the subject",
    );
  // Without a source in the subject nothing shows who said it.
  for (const short of ["node_left.none", "node_left.none.router", "node_left.none.router.r1.more"])
    expect(on(short)).toBe("the subject is not one of events");
});

test("a decision of one class on a subject of another is kept as rejected", () => {
  const decision = decide(routeRequest({ dataClass: "P0" }), fleetOf(), policyOf(), NOW_MS, seeded(1));
  const sizes = { request_bytes: 40, prompt_tokens_estimate: 12 };
  const body = JSON.stringify({ job_id: "job-00000001", attempt: 1, decision, sizes });
  const headers = { ...goodHeaders, "ce-type": "tiermesh.job_decided" };
  const on = (dataClass: string) =>
    message({ subject: `mesh.main.event.job_decided.${dataClass}.router.r1`, body, headers });
  expect(toEntry(on("P0"), 1)).toMatchObject({ type: "job_decided", security_level: "P0" });
  for (const wrong of ["P1", "P2", "none"])
    expect(reasonOf(on(wrong))).toBe("security_level: not the class of the subject");
});

test("no message, however broken, makes it throw", () => {
  const anyHeaders = fc.dictionary(
    fc.constantFrom("ce-id", "ce-type", "ce-time", "ce-source", "traceparent"),
    fc.string(),
  );
  fc.assert(
    fc.property(fc.string(), fc.uint8Array({ maxLength: 200 }), anyHeaders, (subject, body, headers) => {
      const entry = toEntry(message({ subject, body, headers }), 1);
      expect(RejectedEntry.safeParse(entry).success).toBe(true);
    }),
  );
});
