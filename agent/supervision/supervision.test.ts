import { expect, onTestFinished, test } from "vitest";
import { createLog } from "../../service/log.ts";
import { runtimeState } from "../../test/kit/agent-parts.ts";
import { FakeEvents } from "../../test/kit/router-parts.ts";
import { tempDir } from "../../test/kit/temp-dir.ts";
import { Supervision } from "./supervision.ts";

function supervision() {
  const folder = tempDir("tiermesh-supervision-");
  onTestFinished(() => folder.remove());
  const events = new FakeEvents();
  const handedBack: string[] = [];
  const one = new Supervision({
    managed: {},
    nodeId: "n1",
    nodeDir: folder.path,
    env: {},
    events: events as never,
    handBack: (reason, runtime) => handedBack.push(`${runtime}: ${reason}`),
    log: createLog("test", "silent"),
    signal: new AbortController().signal,
  });
  return { one, events, handedBack };
}

test("the embedded runtime is restarted by ending it: its jobs go on elsewhere first, and the order is done when it is up", async () => {
  const { one, events, handedBack } = supervision();
  const ended: string[] = [];
  one.embeddedUp(() => ended.push(handedBack.join()));
  const ordered = one.restart("embedded", "new model");
  expect(ended).toEqual(["embedded: the runtime embedded is restarted: new model"]);
  one.embeddedUp(undefined);
  one.embeddedUp(() => undefined);
  one.embeddedRestarted(1);
  await ordered;
  expect(events.of("runtime_restarted")).toEqual([
    { node_id: "n1", runtime: "embedded", cause: "operator", attempt: 1, reason: "new model" },
  ]);
  one.embeddedRestarted(2);
  expect(events.of("runtime_restarted")[1]).toMatchObject({ cause: "exit", attempt: 2, reason: null });
});

test("what is there and not managed, and what is not there, are told apart and say what to do", async () => {
  const { one } = supervision();
  one.heard([runtimeState("ollama", ["m"])]);
  await expect(one.restart("ollama", null)).rejects.toMatchObject({
    code: "not_supported",
    message: expect.stringContaining("managed_runtimes"),
  });
  await expect(one.restart("embedded", null)).rejects.toMatchObject({ code: "not_found", field: "runtime" });
});
