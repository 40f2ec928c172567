import { expect, test } from "vitest";
import { EVENTS, type Release } from "../../bus-schemas/index.ts";
import type { Bus } from "../../service/bus.ts";
import { EventPublisher } from "../../service/events.ts";
import { createLog } from "../../service/log.ts";
import type { Rejections } from "../../service/rejections.ts";
import { FakeBus } from "../../test/kit/router-parts.ts";
import { recordReleases } from "./release-record.ts";

const SHA = "ab".repeat(32);
const RELEASE: Release = {
  v: 1,
  version: "1.5.0-rc.1+build.7",
  files: [{ system: "linux-x64", bytes: 100, sha256: SHA, signature: "signed" }],
  added_unix_ms: Date.UTC(2026, 10, 26),
  by: "ada@desk",
};

function watched() {
  const bus = new FakeBus();
  const events = new EventPublisher(bus as unknown as Bus, "keeper", "host", createLog("test", "silent"));
  const rejected: string[] = [];
  const rejections = { add: (kind: string) => void rejected.push(kind) } as unknown as Rejections;
  recordReleases({ bus: bus as unknown as Bus, events, rejections });
  const said = () =>
    bus.on("mesh.main.event.release_changed").map(({ json, headers }) => ({
      id: headers?.get("Nats-Msg-Id"),
      ...EVENTS.release_changed.data.parse(json()),
    }));
  const purge = (request: string, subject = "$JS.API.STREAM.PURGE.RELEASES") =>
    bus.deliver("$JS.EVENT.ADVISORY.API", {
      type: "io.nats.jetstream.advisory.v1.api_audit",
      id: "VFdZ3ui54UU5auqn1Vbs0A",
      subject,
      client: { nkey: "UOPERATOR", name: "tiermesh" },
      request,
      response: JSON.stringify({ success: true, purged: 1 }),
    });
  return { bus, purge, rejected, said };
}

test("a release that comes is recorded with its programs, without their signatures, under an id that every keeper gives it", () => {
  const { bus, said } = watched();
  bus.deliver("mesh.main.release.version.1_5_0-rc_1__build_7", RELEASE);
  expect(said()).toEqual([
    {
      id: `release-1_5_0-rc_1__build_7-${RELEASE.added_unix_ms}`,
      version: "1.5.0-rc.1+build.7",
      action: "added",
      by: "ada@desk",
      files: [{ system: "linux-x64", sha256: SHA }],
    },
  ]);
});

test("one that is taken away is recorded with the key that did it; its pieces go without a word", () => {
  const { purge, said } = watched();
  purge(JSON.stringify({ filter: "mesh.main.release.version.1_5_0-rc_1__build_7" }));
  purge(JSON.stringify({ filter: `mesh.main.release.file.${SHA}.*` }));
  purge(JSON.stringify({ filter: "mesh.main.event.>" }), "$JS.API.STREAM.PURGE.AUDIT");
  const gone = { action: "removed", by: "UOPERATOR", files: [], id: "advisory-VFdZ3ui54UU5auqn1Vbs0A" };
  expect(said()).toEqual([{ ...gone, version: "1.5.0-rc.1+build.7" }]);
  purge("");
  expect(said()[1]).toEqual({ ...gone, version: null });
});

test("what is no release, and a request that is no JSON, is counted and stops nothing", () => {
  const { bus, purge, rejected, said } = watched();
  bus.deliver("mesh.main.release.version.x", { v: 2 });
  purge("{");
  expect([said(), rejected]).toEqual([[], ["release", "release"]]);
});
