import { writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { JobResult } from "../../bus-schemas/index.ts";
import { connectBus, type Bus, type BusAddress } from "../../service/bus.ts";
import { createLog } from "../../service/log.ts";
import { ensureAuditStream } from "../../service/streams.ts";
import { startTestBus, type TestBus } from "../kit/bus.ts";
import { startProc, type Proc } from "../kit/proc.ts";
import { SlotAgent } from "../kit/slot-agent.ts";
import { tempDir } from "../kit/temp-dir.ts";
import { waitFor } from "../kit/wait-for.ts";

const root = path.join(import.meta.dirname, "..", "..");
const log = createLog("test", "silent");
const CAP = 12;
/** So long a job takes, milliseconds: about. */
const SERVICE_MS = 60;
const dir = tempDir("queue-caps-");
let server: TestBus;
let address: BusAddress;
let bus: Bus;

beforeAll(async () => {
  server = await startTestBus();
  address = { url: server.url, user: server.user, password: server.pass };
  bus = await connectBus("test", address, log);
  await ensureAuditStream(bus);
  writeFileSync(
    path.join(dir.path, "routing.yaml"),
    `routing_policy:\n  task_queues:\n    chat: { priority: 100, max_concurrency: ${CAP}, timeout_ms: 30000 }\n`,
  );
});
afterAll(async () => {
  await bus.drain();
  await server.stop();
});

function startRouter(id: string): Proc {
  return startProc(path.join(root, "router", "main.ts"), {
    env: {
      TIERMESH_NATS_URL: server.url,
      TIERMESH_NATS_USER: server.user,
      TIERMESH_NATS_PASSWORD: server.pass,
      TIERMESH_ROUTER_ID: id,
      ROUTING_CONFIG_PATH: path.join(dir.path, "routing.yaml"),
      LOG_LEVEL: "warn",
    },
  });
}
const isReady = (router: Proc) => router.waitForLine(/^\{"ready":true.*"process":"router"/, 30_000);

test("three routers, one killed and one added under load: never more than max_concurrency, and every job has one ending", async () => {
  let running = 0;
  let most = 0;
  let ended = 0;
  /** Jobs at nodes, by which router sent them: its share is used. */
  const perRouter = new Map<string, number>();
  const waitForEnded = async (count: number) =>
    waitFor(() => expect(ended).toBeGreaterThanOrEqual(count), { timeout: 60_000, interval: 20 });
  const onChange = (_queue: string, change: 1 | -1) => {
    running += change;
    most = Math.max(most, running);
    if (change === -1) ended++;
  };
  const agents = await Promise.all(
    ["n1", "n2"].map(
      async (nodeId) =>
        new SlotAgent(await connectBus(nodeId, address, log), {
          nodeId,
          model: "tiny",
          slots: 40,
          serviceMs: () => SERVICE_MS * (0.5 + Math.random()),
          onChange,
        }),
    ),
  );
  bus.listen(bus.subjects.verdicts, ({ subject }) => {
    const router = subject.split(".").at(-3)?.split("-")[0] ?? "";
    perRouter.set(router, (perRouter.get(router) ?? 0) + 1);
  });
  await using one = startRouter("one");
  await using two = startRouter("two");
  await using three = startRouter("three");
  await Promise.all([one, two, three].map(isReady));

  const outcomes = new Map<string, number>();
  let submitted = 0;
  let answered = 0;
  let stop = false;
  const prefix = `_INBOX.caps.${crypto.randomUUID()}`;
  const open = new Map<string, (result: JobResult | undefined) => void>();
  bus.listen(`${prefix}.*`, (msg) => {
    const result = msg.headers?.code === 503 ? undefined : JobResult.parse(msg.json());
    open.get(msg.subject.slice(prefix.length + 1))?.(result);
  });
  /** A caller that asks again as soon as it has its answer, and gives up on one that does not come as a client does. */
  const caller = async () => {
    while (!stop) {
      const token = `t${submitted++}`;
      const answer = Promise.withResolvers<JobResult | undefined>();
      let answers = 0;
      open.set(token, (result) => {
        answers++;
        answer.resolve(result);
      });
      const body = JSON.stringify({ security_level: "P2", prompt: "hello", model: "tiny" });
      bus.nc.publish(bus.subjects.submit("chat"), body, { reply: `${prefix}.${token}` });
      const timer = setTimeout(() => answer.resolve(undefined), 4000);
      const result = await answer.promise;
      clearTimeout(timer);
      const outcome = result === undefined ? "lost" : (result.error?.code ?? result.status);
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
      answered += answers;
      expect(answers).toBeLessThanOrEqual(1);
    }
  };
  // Three times what may run at once.
  const callers = Array.from({ length: 3 * CAP }, caller);

  await waitForEnded(400);
  expect(most).toBeLessThanOrEqual(CAP);
  expect(most).toBeGreaterThanOrEqual(CAP - 1);
  expect([...perRouter.keys()].toSorted()).toEqual(["one", "three", "two"]);

  one.kill("SIGKILL");
  await waitForEnded(ended + 200);
  expect(most).toBeLessThanOrEqual(CAP);
  await using four = startRouter("four");
  await isReady(four);
  await waitForEnded(ended + 800);
  stop = true;
  await Promise.all(callers);
  expect(most).toBeLessThanOrEqual(CAP);
  expect(perRouter.get("four")).toBeGreaterThan(50);
  // Only what the killed router had in hand is without an answer; nobody was refused for any other reason than the cap.
  expect([...outcomes.keys()].filter((key) => !["finished", "lost", "rate_limited"].includes(key))).toEqual([]);
  expect(outcomes.get("lost") ?? 0).toBeLessThanOrEqual(3 * CAP);
  expect(answered + (outcomes.get("lost") ?? 0)).toBeGreaterThanOrEqual(submitted);
  for (const agent of agents) await agent[Symbol.asyncDispose]();
}, 180_000);
