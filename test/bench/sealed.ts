import { MeshClient } from "../../client/index.ts";
import { connectBus } from "../../service/bus.ts";
import { busVariables } from "../../service/config.ts";
import { createLog } from "../../service/log.ts";
import { startMesh, type TestMesh } from "../kit/mesh.ts";
import { CHAT, deltaEvent, event, startServer, stream } from "../kit/runtime-servers.ts";
import type { Bench, Report } from "./bench.ts";
import { startChild } from "./child.ts";
import { differenceUs, paired, type Variant } from "./harness.ts";
import { sealingParts } from "./sealing-parts.ts";

/** Chats of a round, one after the other. */
const CHATS = 40;
/** Pause after each, milliseconds: what a chat leaves behind (its record, the auditor) does not run into the next one. */
const PAUSE_MS = 4;

/** The echo that the hop is measured by is none of the mesh's roles. */
const OPEN = { openBus: true };

const BY_HAND = "P1 in clear, by hand";
const BY_HAND_P2 = "P2 in clear, by hand";
const STREAMED = "P1 in clear, by hand, streamed as P0 is";
const BY_CLIENT = "P1 in clear, by MeshClient, which asks first";
const SEALED = "P0 sealed";

/** What sealing costs a chat on a whole mesh, against a job of a class that is as recorded as P0 but goes in clear. */
export const sealed: Bench = {
  summary: "chats on a whole mesh, sealed against in clear; what sealing is made of",
  run,
};

async function run(report: Report): Promise<void> {
  report.add(await sealingParts());
  const idle = { pauseMs: PAUSE_MS };
  {
    await using mesh = await startMesh({}, [], OPEN);
    await chats(report, mesh, "the diagnostic answer's six pieces, one chat at a time", idle);
    await chats(report, mesh, "the same, one chat right after the other", { pauseMs: 0 });
  }
  const runtime = await startServer({
    "GET /v1/models": { object: "list", data: [{ id: "one-piece", object: "model" }] },
    [CHAT]: stream(deltaEvent({ role: "assistant", content: "Hello." }, "stop"), event("[DONE]")),
  });
  try {
    await using mesh = await startMesh({ TIERMESH_RUNTIMES: runtime.url }, [], OPEN);
    await chats(report, mesh, "an answer of one piece by a runtime over HTTP, one chat at a time", idle);
  } finally {
    await runtime.close();
  }
  report.note("P1 waits for its durable record as P0 does; what P1 takes more than P2 is that wait");
}

async function chats(report: Report, mesh: TestMesh, name: string, { pauseMs }: { pauseMs: number }): Promise<void> {
  await using client = await MeshClient.connect({ ...mesh.address, name: "bench" });
  await using _echo = await startChild(new URL("./echo.child.ts", import.meta.url), busVariables(mesh.address));
  const bus = await connectBus("bench-by-hand", mesh.address, createLog("bench", "silent"));
  const timed =
    (one: () => Promise<unknown>): Variant =>
    async () => {
      const latenciesUs: number[] = [];
      for (let i = 0; i < CHATS; i++) {
        const startMs = performance.now();
        await one();
        latenciesUs.push((performance.now() - startMs) * 1000);
        if (pauseMs > 0) await new Promise((resolve) => setTimeout(resolve, pauseMs));
      }
      return { ops: CHATS, latenciesUs };
    };
  const chat = (level: string) =>
    timed(async () => {
      const { status, error } = await client.submit({ security_level: level, prompt: "Hello, who are you?" });
      if (status !== "finished") throw new Error(error?.message ?? status);
    });
  const byHand = (level: string) => {
    const body = JSON.stringify({ security_level: level, prompt: "Hello, who are you?" });
    return timed(async () => {
      const reply = await bus.nc.request(bus.subjects.submit("chat"), body, { timeout: 5000 });
      if (!reply.string().includes('"finished"')) throw new Error("not finished");
    });
  };
  let ended: () => void = () => undefined;
  const inbox = `${bus.inbox}.chat`;
  bus.listen(inbox, (msg) => {
    if (msg.string().includes('"type":"end"')) ended();
  });
  const streamed = timed(async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    ended = resolve;
    const job = { security_level: "P1", prompt: "Hello, who are you?", stream: true };
    bus.nc.publish(bus.subjects.submit("chat"), JSON.stringify(job), { reply: inbox });
    await promise;
  });
  // MeshClient waits for a router; by hand there must be one.
  await chat("P0")();
  const comparison = await paired(name, {
    [BY_HAND]: byHand("P1"),
    [SEALED]: chat("P0"),
    [STREAMED]: streamed,
    [BY_CLIENT]: chat("P1"),
    [BY_HAND_P2]: byHand("P2"),
    "P2 in clear, by MeshClient": chat("P2"),
    "one hop: request and answer by a bare process": timed(() => bus.nc.request("bench.echo", "x")),
  });
  await bus.drain();
  report.add(comparison);
  const more = (variant: string, than: string) => {
    const [low, median, high] = differenceUs(comparison, variant, than).map((us) => (us / 1000).toFixed(2));
    report.note(`${variant} takes ${median} ms more at p50 (${low} to ${high}) than ${than}`);
  };
  more(SEALED, BY_HAND);
  more(SEALED, STREAMED);
  more(SEALED, BY_CLIENT);
  more(BY_HAND, BY_HAND_P2);
}
