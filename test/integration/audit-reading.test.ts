import { afterAll, beforeAll, expect, test } from "vitest";
import { AuditStats, type AuditEntry } from "../../bus-schemas/index.ts";
import { startMesh, type TestMesh } from "../kit/mesh.ts";
import { waitFor } from "../kit/wait-for.ts";

/** The record of a whole mesh, read as its people read it. */

let mesh: TestMesh;
let jobId: string;

beforeAll(async () => {
  mesh = await startMesh();
  const response = await fetch(`${mesh.gatewayUrl}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json", "mesh-class": "P0" },
    body: JSON.stringify({ model: "auto", messages: [{ role: "user", content: "a word that must not be recorded" }] }),
  });
  expect(response.status).toBe(200);
  jobId = response.headers.get("x-tiermesh-job") ?? "";
});
afterAll(() => mesh[Symbol.asyncDispose]());

/** The output of `tiermesh audit …` once it succeeds and `accept` does. */
async function audit(accept: (out: string) => void, ...args: string[]): Promise<string> {
  return waitFor(async () => {
    const { code, out, err } = await mesh.run("audit", ...args);
    expect([code, err]).toEqual([0, ""]);
    accept(out);
    return out;
  });
}

const lines = (out: string) => (out === "" ? [] : out.split("\n").map((line) => JSON.parse(line) as AuditEntry));

test("a job is found by class, node and outcome, its story is told, and nothing of what was said is in it", async () => {
  const filters = ["--class", "P0", "--node", mesh.nodeId, "--outcome", "finished", "--since", "1h", "--json"];
  await audit((out) => expect(lines(out)).toMatchObject([{ type: "job_ended", job_id: jobId }]), "query", ...filters);
  const story = await audit((out) => expect(out).toContain(`finished on ${mesh.nodeId}`), "trace", jobId);
  expect(story).toContain(`job ${jobId}, class P0: finished`);
  expect(story).toContain(`decided: ${mesh.nodeId} (L0)`);
  expect(story).not.toContain("must not be recorded");
  const stats = await audit((out) => expect(out).toContain("finished"), "stats", "--class", "P0", "--json");
  expect(AuditStats.parse(JSON.parse(stats))).toMatchObject({ jobs: 1, endings: { finished: 1 } });
});

test("a wrong filter is told with what it takes, and ends with 2", async () => {
  const { code, err } = await mesh.run("audit", "query", "--since", "yesterday");
  expect([code, err]).toEqual([2, expect.stringContaining("a time such as")]);
});
