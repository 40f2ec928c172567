import type { Msg } from "@nats-io/nats-core";
import { expect, test } from "vitest";
import { MeshError } from "../bus-schemas/index.ts";
import { createLog } from "../service/log.ts";
import { ExportRecord } from "./export-record.ts";

function setup() {
  const recorded: unknown[] = [];
  const rejected: string[] = [];
  const state = { full: false };
  const events = {
    record: (_type: string, data: unknown) => {
      if (state.full) throw new MeshError("audit_unavailable", "the disk is full");
      recorded.push(data);
      return { id: `e${recorded.length}`, durable: Promise.resolve() };
    },
  };
  const exports = new ExportRecord(
    events as never,
    { add: (_kind, error) => void rejected.push(error.field ?? "") },
    createLog("test", "silent"),
  );
  const ask = async (body: unknown) => {
    let said: unknown;
    const data = Buffer.from(typeof body === "string" ? body : JSON.stringify(body));
    const msg = {
      data,
      reply: "_INBOX.a",
      respond: (answer: Uint8Array) => (said = JSON.parse(Buffer.from(answer).toString())),
    };
    await exports.serve(msg as unknown as Msg);
    return said;
  };
  return { exports, recorded, rejected, state, ask };
}

const NOTE = { kind: "proof", by: "ann@ws-1", what: "no-p0-egress", count: 7, sha256: "0a".repeat(32) };

test("what an operator took out is on record before the answer, which names the event", async () => {
  const { ask, recorded } = setup();
  expect(await ask(NOTE)).toEqual({ event_id: "e1" });
  const { sha256: _, ...without } = NOTE;
  expect(await ask({ ...without, kind: "inventory" })).toEqual({ event_id: "e2" });
  expect(recorded).toEqual([NOTE, { ...NOTE, kind: "inventory", sha256: null }]);
});

test.each([
  ["kind", { ...NOTE, kind: "receipts" }],
  ["by", { ...NOTE, by: "" }],
  ["what", { ...NOTE, what: "x".repeat(201) }],
  ["count", { ...NOTE, count: -1 }],
  ["sha256", { ...NOTE, sha256: "no" }],
])("a note that is none is answered with its field and leaves nothing: %s", async (field, note) => {
  const { ask, recorded, rejected } = setup();
  expect(await ask(note)).toMatchObject({ error: { code: "bad_request", field } });
  expect([recorded, rejected]).toEqual([[], [field]]);
});

test("what cannot be recorded is said, and garbage is answered", async () => {
  const { ask, state } = setup();
  expect(await ask("{")).toMatchObject({ error: { code: "bad_request" } });
  state.full = true;
  expect(await ask(NOTE)).toMatchObject({ error: { code: "audit_unavailable" } });
});

test("receipts are one event for all since the last; none are none, and what cannot be recorded is counted on", () => {
  const { exports, recorded, state } = setup();
  exports.flush();
  for (let i = 0; i < 3; i++) exports.receipt();
  state.full = true;
  exports.flush();
  exports.receipt();
  state.full = false;
  exports.flush();
  exports.flush();
  expect(recorded).toEqual([{ kind: "receipts", by: null, what: null, count: 4, sha256: null }]);
});
