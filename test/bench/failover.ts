import { availableParallelism, loadavg } from "node:os";
import { connectBus } from "../../service/bus.ts";
import { createLog } from "../../service/log.ts";
import { SHARED_MODEL, answerOf, startFailoverMesh, type FailoverMesh } from "../kit/failover-mesh.ts";
import type { Bench, Report } from "./bench.ts";
import { quantile } from "./harness.ts";

/** Repeats of a kill, and of what takes seconds each. */
const KILLS = 12;
const STOPS = 6;
/** Time to first token of every runtime here, and its pace, milliseconds. */
const TTFT_MS = 200;
const EVERY_MS = 10;
const WORDS = 40;

/** How long a caller waits when something dies under its job, on a real mesh with a real broker. */
export const failover: Bench = {
  summary:
    "kill -9 and SIGSTOP of agents and runtimes under a job: noticed after, first piece from the next node after",
  run,
};

/** What a caller saw of one job, moments by performance.now(). */
interface Seen {
  nodes: string[];
  acceptedAtMs: number[];
  pieceAtMs: number[];
  text: string;
  end: string;
}

type Fault = "kill the agent" | "stop the agent" | "stop the runtime";

async function run(report: Report): Promise<void> {
  await using failoverMesh = await startFailoverMesh(["node-a", "node-b", "node-c"], ["--routers", "3"]);
  const bus = await connectBus("failover-bench", failoverMesh.mesh.address, createLog("bench", "silent"));
  let goneAtMs = 0;
  bus.listen(bus.subjects.nodesGone, () => (goneAtMs = performance.now()));
  await bus.nc.flush();
  const measure = (fault: Fault, when: "before" | "in", security: string, repeats: number) =>
    series(report, failoverMesh, { fault, when, security, repeats }, () => goneAtMs);
  await measure("stop the runtime", "before", "P2", STOPS);
  await measure("stop the runtime", "in", "P0", STOPS);
  await measure("stop the agent", "before", "P2", STOPS);
  await measure("stop the agent", "in", "P0", STOPS);
  await measure("kill the agent", "before", "P2", KILLS);
  await measure("kill the agent", "in", "P2", KILLS);
  await measure("kill the agent", "before", "P0", KILLS);
  await measure("kill the agent", "in", "P0", KILLS);
  report.note(`load of the machine in the last minute: ${loadavg()[0]?.toFixed(1)} on ${availableParallelism()} cores`);
  await bus.drain();
}

async function series(
  report: Report,
  mesh: FailoverMesh,
  { fault, when, security, repeats }: { fault: Fault; when: "before" | "in"; security: string; repeats: number },
  goneAt: () => number,
): Promise<void> {
  const dead: number[] = [];
  const told: number[] = [];
  const beyond: number[] = [];
  const next: number[] = [];
  const piece: number[] = [];
  let exact = 0;
  for (let i = 0; i < repeats; i++) {
    await mesh.allReady();
    let faultAtMs = 0;
    let hit = "";
    const seen = await oneJob(mesh, security, when, (node) => {
      hit = node;
      const { agent, runtime } = mesh.machine(node);
      faultAtMs = performance.now();
      // What the operating system and this process take to notice: nobody can be faster.
      void agent.exited.then(() => dead.push(performance.now() - faultAtMs));
      if (fault === "kill the agent") agent.kill("SIGKILL");
      else if (fault === "stop the agent") agent.kill("SIGSTOP");
      else runtime.kill("SIGSTOP");
    });
    const { agent, runtime } = mesh.machine(hit);
    if (fault === "kill the agent") {
      told.push(goneAt() - faultAtMs);
      await mesh.machine(hit).restart();
    } else for (const proc of [agent, runtime]) proc.kill("SIGCONT");
    if (seen.end === "finished" && seen.text === answerOf(WORDS)) exact++;
    else
      report.note(`an answer was not whole: ${seen.end}, ${seen.text.length} characters, by ${seen.nodes.join(", ")}`);
    const resumed = seen.pieceAtMs.find((atMs) => atMs > faultAtMs + (when === "in" ? 3 * EVERY_MS : 0));
    if (resumed !== undefined) piece.push(resumed - faultAtMs);
    if (resumed !== undefined && fault === "kill the agent") beyond.push(resumed - goneAt() - TTFT_MS);
    const accepted = seen.acceptedAtMs.find((atMs) => atMs > faultAtMs);
    if (accepted !== undefined) next.push(accepted - faultAtMs);
  }
  const name = `${fault} ${when === "in" ? "in the middle of an answer" : "before its first piece"}, ${security}`;
  report.note(`${name} (${repeats} times, ${exact} whole answers)`);
  if (told.length > 0) {
    report.note(`    the process is seen dead after   ${ms(dead.slice(0, repeats))}`);
    report.note(`    the routers are told after       ${ms(told)}`);
  }
  if (next.length > 0) report.note(`    accepted by the next node after  ${ms(next)}`);
  report.note(`    its first piece after            ${ms(piece)}, of which ${TTFT_MS} ms are the runtime's`);
  if (beyond.length > 0) report.note(`    beyond the word and the runtime  ${ms(beyond)}`);
}

/** Runs a job and strikes once: when it is accepted and under way, or after some pieces. */
async function oneJob(
  { client }: FailoverMesh,
  security: string,
  when: "before" | "in",
  strike: (node: string) => void,
): Promise<Seen> {
  const seen: Seen = { nodes: [], acceptedAtMs: [], pieceAtMs: [], text: "", end: "nothing" };
  let struck = false;
  const request = {
    prompt: `words=${WORDS} every=${EVERY_MS} first=${TTFT_MS}`,
    model: SHARED_MODEL,
    security_level: security,
    timeout_ms: 30_000,
  };
  for await (const frame of client.stream(request)) {
    const nowMs = performance.now();
    if (frame.type === "accepted") {
      seen.nodes.push(frame.node_id);
      seen.acceptedAtMs.push(nowMs);
    } else if (frame.type === "delta") {
      seen.pieceAtMs.push(nowMs);
      seen.text += frame.content ?? "";
    } else if (frame.type === "end")
      seen.end = frame.error === null ? frame.status : `${frame.status} ${frame.error.message}`;
    const due = when === "before" ? seen.nodes.length > 0 : seen.pieceAtMs.length === 10;
    const node = seen.nodes.at(-1);
    if (struck || !due || node === undefined) continue;
    struck = true;
    // Well inside the time in which its runtime only thinks.
    if (when === "before") setTimeout(() => strike(node), TTFT_MS / 4);
    else strike(node);
  }
  return seen;
}

function ms(values: readonly number[]): string {
  const at = (share: number) => quantile(values, share).toFixed(1).padStart(7);
  return `p50 ${at(0.5)} ms, p99 ${at(0.99)} ms`;
}
