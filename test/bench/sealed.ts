import { MeshClient } from "../../client/index.ts";
import { connectBus } from "../../service/bus.ts";
import { createLog } from "../../service/log.ts";
import { newNodeKey, openJob, publicText, sealJob } from "../../service/sealing/index.ts";
import { startMesh } from "../kit/mesh.ts";
import type { Bench, Report } from "./bench.ts";
import { paired, type Variant } from "./harness.ts";

/** Chats of a round, one after the other. */
const CHATS = 40;
const SEALS = 100;

/** What sealing costs a chat on a whole mesh, against a job of a class that is as recorded as P0 but goes in clear. */
export const sealed: Bench = {
  summary: "chats on a whole mesh, sealed against in clear",
  run,
};

async function run(report: Report): Promise<void> {
  await using mesh = await startMesh();
  await using client = await MeshClient.connect({ ...mesh.address, name: "bench" });
  const bus = await connectBus("bench-by-hand", mesh.address, createLog("bench", "silent"));
  const timed =
    (count: number, one: () => Promise<unknown>): Variant =>
    async () => {
      const latenciesUs: number[] = [];
      for (let i = 0; i < count; i++) {
        const startMs = performance.now();
        await one();
        latenciesUs.push((performance.now() - startMs) * 1000);
      }
      return { ops: count, latenciesUs };
    };
  const chat = (level: string) => async () => {
    const { status, error } = await client.submit({ security_level: level, prompt: "Hello, who are you?" });
    if (status !== "finished") throw new Error(error?.message ?? status);
  };
  const body = JSON.stringify({ security_level: "P1", prompt: "Hello, who are you?" });
  const byHand = async () => {
    const reply = await bus.nc.request(bus.subjects.submit("chat"), body, { timeout: 5000 });
    if (!reply.string().includes('"finished"')) throw new Error("not finished");
  };
  report.add(
    await paired("a chat to its end, one at a time", {
      "P1 in clear, recorded first": timed(CHATS, byHand),
      "P0 sealed": timed(CHATS, chat("P0")),
      "P1 by MeshClient, which asks first": timed(CHATS, chat("P1")),
      "P2 in clear": timed(CHATS, chat("P2")),
    }),
  );
  await bus.drain();

  const keys = await newNodeKey();
  const to = { cell: "mesh.main", node: "n1", kid: "k1" };
  const job = new Uint8Array(512);
  report.add(
    await paired("HPKE alone, a job of 512 bytes", {
      "seal and open": timed(SEALS, async () => {
        const { sealed: data, enc } = await sealJob(
          job,
          { ...to, publicKey: publicText(keys) },
          "ticket",
          "job-00000001",
        );
        await openJob(data, enc, { ...to, keys }, "ticket", "job-00000001");
      }),
    }),
  );
  report.note("P1 in clear waits for its durable record as P0 does: what P0 takes more is the price of sealing");
}
