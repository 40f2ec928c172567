import { expect, test } from "vitest";
import { EVENTS, MeshError } from "../bus-schemas/index.ts";
import { FakeEvents } from "../test/kit/router-parts.ts";
import { recordKey } from "./key-record.ts";
import { createLog } from "./log.ts";

const WHOSE = { role: "node_sealing", node_id: "n1", router_id: null } as const;
const KEY = { kid: "k2", public_key: "A".repeat(43) };

test("a new key is recorded by its name and fingerprint, with the one before; a record that fails is only logged", () => {
  const events = new FakeEvents();
  const log = createLog("test", "silent");
  recordKey({ events: events as never, log }, WHOSE, KEY, { kid: "k1" });
  const [recorded] = events.of("key_changed");
  expect(EVENTS.key_changed.data.parse(recorded)).toEqual({
    ...WHOSE,
    key_id: "k2",
    fingerprint: expect.stringMatching(/^([0-9a-f]{4}-){4}[0-9a-f]{4}$/),
    previous_key_id: "k1",
  });
  const full = {
    record: () => {
      throw new MeshError("audit_unavailable", "no");
    },
  };
  expect(() => recordKey({ events: full, log }, WHOSE, KEY)).not.toThrow();
});
