import { setTimeout as pause } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { MeshClient } from "../../client/index.ts";
import { newId } from "../../service/ids.ts";
import { createLog } from "../../service/log.ts";
import { settle } from "../chaos/faults.ts";
import { isWhole } from "../chaos/ways.ts";
import { ClusterMesh } from "../kit/cluster-mesh.ts";
import { eventually } from "../kit/mesh.ts";
import { tempDir } from "../kit/temp-dir.ts";

/** Every part restarted in order, one after the other, while jobs never stop coming: no job fails. */

const folder = tempDir("tiermesh-rolling-");
const CLASSES = ["P0", "P1", "P2"];
const WORKERS = { mesh: 5, http: 2 };
const REST_MS = 60;
const LIMIT_MS = 15_000;

let mesh: ClusterMesh;
let client: MeshClient;
let workers: Promise<void>[] = [];
const stop = new AbortController();
const done: { way: string; startMs: number; endMs: number; how: string }[] = [];

beforeAll(async () => {
  mesh = await ClusterMesh.start({ folder: folder.path, tag: `tr${process.pid % 10_000}`, agents: 3, slots: 8 });
  client = await MeshClient.connect({ ...mesh.access("client"), log: createLog("test", "silent") });
  workers = [
    ...Array.from({ length: WORKERS.mesh }, () => worker("mesh", byMesh)),
    ...Array.from({ length: WORKERS.http }, () => worker("http", byHttp)),
  ];
});
afterAll(async () => {
  stop.abort();
  await Promise.allSettled(workers);
  await client?.close();
  await mesh?.stop();
  await folder.remove();
});

async function worker(way: string, run: (turn: number) => Promise<string>): Promise<void> {
  for (let turn = 0; !stop.signal.aborted; turn++) {
    const startMs = performance.now();
    const how = await run(turn);
    done.push({ way, startMs, endMs: performance.now(), how });
    await pause(REST_MS);
  }
}

async function byMesh(turn: number): Promise<string> {
  const job = newId();
  const dataClass = CLASSES[turn % 3] ?? "P2";
  const prompt = `canary:${dataClass}:${job}`;
  const request = { job_id: job, prompt, security_level: dataClass, timeout_ms: LIMIT_MS };
  const { error, message, status } = await client.submit(request);
  if (status !== "finished") return `${status} ${error?.code}: ${error?.message}`;
  return isWhole(String(message?.content), job, mesh.pieces) ? "answer" : "not whole";
}

/** As a proxy does it: what could not be sent to one gateway goes to the other; what was sent is not sent again. */
async function byHttp(turn: number): Promise<string> {
  const job = newId();
  const dataClass = CLASSES[turn % 3] ?? "P2";
  const body = JSON.stringify({ model: "auto", messages: [{ role: "user", content: `canary:${dataClass}:${job}` }] });
  const headers = { "Content-Type": "application/json", "Mesh-Class": dataClass, Connection: "close" };
  let how = "";
  for (const url of turn % 2 === 0 ? mesh.gatewayUrls : mesh.gatewayUrls.toReversed()) {
    try {
      const response = await fetch(`${url}/v1/chat/completions`, { method: "POST", headers, body });
      const text = await response.text();
      how = response.ok ? "answer" : `${response.status} ${text.slice(0, 200)}`;
      if (response.status !== 503) return how;
    } catch (error) {
      how = `tcp ${String((error as { cause?: { code?: string } }).cause?.code)}`;
      if (how !== "tcp ECONNREFUSED") return how;
    }
  }
  return how;
}

test.each(["router", "gateway", "auditor", "agent", "bus"])(
  "no job fails while every %s is restarted",
  async (kind) => {
    await eventually("a steady load", () => done.filter(({ how }) => how === "answer").length > 20);
    const fromMs = performance.now();
    for (const name of mesh.names(kind)) {
      expect([name, await mesh.part(name).stop()]).toEqual([name, 0]);
      await mesh.part(name).start();
      await settle(mesh, name);
    }
    const untilMs = performance.now();
    await eventually("the jobs of that time to end", () => done.filter(({ startMs }) => startMs > untilMs).length > 10);
    const touched = done.filter(({ endMs }) => endMs > fromMs);
    const times = touched.map(({ endMs, startMs }) => endMs - startMs).toSorted((a, b) => a - b);
    const ms = (share: number) => times[Math.floor(times.length * share)]?.toFixed(0);
    const failed = touched.filter(({ how }) => how !== "answer");
    process.stderr.write(
      `${kind}: ${touched.length} jobs in ${((untilMs - fromMs) / 1000).toFixed(0)} s, ${failed.length} failed, p50 ${ms(0.5)} ms, p99 ${ms(0.99)} ms\n`,
    );
    expect(failed).toEqual([]);
  },
  180_000,
);
