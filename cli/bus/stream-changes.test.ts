import { expect, test } from "vitest";
import { EVENTS } from "../../bus-schemas/index.ts";
import type { Bus } from "../../service/bus.ts";
import { EventPublisher } from "../../service/events.ts";
import { createLog } from "../../service/log.ts";
import { FakeBus } from "../../test/kit/router-parts.ts";
import { recordStreamChanges } from "./stream-changes.ts";

const log = createLog("test", "silent");
const owners = { keeper: "UKEEPER", auditor: "UAUDITOR" };

function watched() {
  const bus = new FakeBus();
  const events = new EventPublisher(bus as unknown as Bus, "keeper", "host", log);
  recordStreamChanges({ bus: bus as unknown as Bus, events, log, owners });
  const said = () =>
    bus.on("mesh.main.event.stream_changed").map(({ json, headers }) => ({
      id: headers?.get("Nats-Msg-Id"),
      ...EVENTS.stream_changed.data.parse(json()),
    }));
  const tell = (subject: string, response: object, client: object = { user: "evil", name: "nats cli" }) =>
    bus.deliver("$JS.EVENT.ADVISORY.API", {
      type: "io.nats.jetstream.advisory.v1.api_audit",
      id: "VFdZ3ui54UU5auqn1Vbs0A",
      subject,
      client,
      response: JSON.stringify(response),
    });
  return { said, tell };
}

// Answers as nats-server 2.15.2 gave them.
test("a purge is recorded with who did it and how much is gone, under an id that every keeper gives it", () => {
  const { said, tell } = watched();
  tell("$JS.API.STREAM.PURGE.AUDIT", {
    type: "io.nats.jetstream.api.v1.stream_purge_response",
    success: true,
    purged: 7,
  });
  expect(said()).toEqual([
    {
      id: "advisory-VFdZ3ui54UU5auqn1Vbs0A",
      stream: "AUDIT",
      action: "STREAM.PURGE",
      severity: "critical",
      by: "evil",
      client: "nats cli",
      purged: 7,
      refused: null,
    },
  ]);
});

test("the keeper's own making is no alert; the same by another is, and so is what was refused", () => {
  const { said, tell } = watched();
  const ok = { config: { name: "AUDIT" } };
  tell("$JS.API.STREAM.UPDATE.AUDIT", ok, { nkey: "UKEEPER" });
  tell("$JS.API.STREAM.UPDATE.AUDIT", ok, { nkey: "UOPERATOR" });
  tell("$JS.API.STREAM.DELETE.AUDIT", { error: { code: 400, description: "stream is sealed" } }, { nkey: "UKEEPER" });
  tell("$JS.API.CONSUMER.DELETE.AUDIT.auditor", { success: true }, { nkey: "UOPERATOR" });
  expect(said().map(({ action, severity, by, refused }) => [action, severity, by, refused])).toEqual([
    ["STREAM.UPDATE", "info", "UKEEPER", null],
    ["STREAM.UPDATE", "critical", "UOPERATOR", null],
    ["STREAM.DELETE", "critical", "UKEEPER", "stream is sealed"],
    ["CONSUMER.DELETE", "critical", "UOPERATOR", null],
  ]);
});

test("what only looks, other streams, the auditor's own consumer and garbage are not recorded", () => {
  const { said, tell } = watched();
  tell("$JS.API.STREAM.INFO.AUDIT", {});
  tell("$JS.API.STREAM.PURGE.JOBS", { about: "AUDIT" });
  tell("$JS.API.STREAM.PURGE.AUDIT_other", {});
  tell("$JS.API.CONSUMER.DELETE.AUDIT.auditor", {}, { nkey: "UAUDITOR" });
  tell("$JS.API.CONSUMER.CREATE.AUDIT.somebody", {});
  expect(said()).toEqual([]);
  expect(() => tell("$JS.API.STREAM.PURGE.AUDIT", {}, { user: 7 })).toThrow(/client/);
  expect(said()).toEqual([]);
});
