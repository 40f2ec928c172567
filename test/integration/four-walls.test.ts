import { afterAll, beforeAll, expect, test, vi } from "vitest";
import type * as Gate from "../../agent/egress/gate.ts";
import type * as Asking from "../../agent/ask.ts";
import type * as Admission from "../../agent/model/admission.ts";
import type * as Filters from "../../router/policy/filters/index.ts";
import type * as Tools from "../../router/policy/tools.ts";
import { connectBus, type BusAddress } from "../../service/bus.ts";
import { createLog } from "../../service/log.ts";
import { ensureAuditStream } from "../../service/streams.ts";
import { startTestBus, type TestBus } from "../kit/bus.ts";
import { startGuardedBus, type GuardedBus } from "../kit/guarded-bus.ts";
import { HostileJobs, WAYS, hostileSeed, type HostileJob, type Way } from "../kit/hostile-jobs.ts";
import { HostileSender, type Fate } from "../kit/hostile-sender.ts";
import { OPENAI_HELLO, startProvider } from "../kit/provider-servers.ts";
import { startWalledMesh, type Member } from "../kit/walled-mesh.ts";

/**
 * DESIGN promise 1, "P0 stays home": each of its four walls is taken down in turn, and each stands alone, under thousands of
 * hostile jobs. The walls are the product's own code; one that is down is left out at its only entrance.
 */

type Walls = Record<"filter" | "broker" | "admission" | "gate", boolean>;
const UP: Walls = { filter: true, broker: true, admission: true, gate: true };
const DOWN: Walls = { filter: false, broker: false, admission: false, gate: false };
/** Which walls stand now. */
const walls = vi.hoisted(() => ({ filter: true, broker: true, admission: true, gate: true }));

vi.mock("../../router/policy/filters/index.ts", async (original) => {
  const { FILTERS } = await original<typeof Filters>();
  const wall = ["data_class", "layer", "encryption"];
  return {
    FILTERS: FILTERS.map((filter) => ({
      ...filter,
      reject: (...args: Parameters<typeof filter.reject>) =>
        wall.includes(filter.name) && !walls.filter ? undefined : filter.reject(...args),
    })),
  };
});
// Level one of the decision stands before the filters: by it alone no P0 job would be offered to a cloud.
vi.mock("../../router/policy/tools.ts", async (original) => {
  const real = await original<typeof Tools>();
  const chooseTool: typeof real.chooseTool = (job) => {
    const tool = real.chooseTool(job);
    return walls.filter ? tool : { ...tool, data_residency: "any" };
  };
  return { chooseTool };
});
vi.mock("../../agent/model/admission.ts", async (original) => {
  const real = await original<typeof Admission>();
  const refuse: typeof real.refuse = (ask, stance, ...rest) => {
    if (walls.admission) return real.refuse(ask, stance, ...rest);
    const general = { ...ask, subjectClass: "P2", headerClass: undefined, bodyClass: undefined } as const;
    return real.refuse(general, { ...stance, layer: "L0" }, ...rest);
  };
  return { ...real, refuse };
});
vi.mock("../../agent/ask.ts", async (original) => {
  const real = await original<typeof Asking>();
  const askOf: typeof real.askOf = (facts, layer) => {
    if (walls.admission) return real.askOf(facts, layer);
    const { dataClass: subjectClass, deadlineMs } = facts;
    return { subjectClass, headerClass: undefined, bodyClass: undefined, deadlineMs };
  };
  return { ...real, askOf };
});
vi.mock("../../agent/egress/gate.ts", async (original) => {
  const real = await original<typeof Gate>();
  return {
    passGate: (declared: Parameters<typeof real.passGate>[0]) => (walls.gate ? real.passGate(declared) : undefined),
  };
});

const seed = hostileSeed();
const IN_FLIGHT = 100;
/** Jobs in one setting. */
const JOBS: Record<Way, number> = { submit: 640, ticket: 60, run: 160, insider: 140, sealed: 100 };
const total = { settings: 0, jobs: 0, strict: 0, ms: 0, providerBytes: 0, arrived: 0 };

const log = createLog("test", "silent");
let guardedBus: GuardedBus;
let openBus: TestBus;

beforeAll(async () => {
  [guardedBus, openBus] = await Promise.all([startGuardedBus(), startTestBus()]);
  const bus = await connectBus("test", open(), log);
  await ensureAuditStream(bus);
  await bus.drain();
});
afterAll(async () => {
  await guardedBus?.[Symbol.asyncDispose]();
  await openBus?.stop();
});

function open(): BusAddress {
  return { url: openBus.url, user: openBus.user, password: openBus.pass };
}

function addressOf(member: Member | "client"): BusAddress {
  return walls.broker ? guardedBus.addressOf(member) : open();
}

/** Whether any wall that stands can be in the way of this job: a router's filter sees only what comes by a router. */
function inTheWay(job: HostileJob): boolean {
  if (walls.admission || walls.gate) return true;
  // What its subject does not show, a broker cannot know.
  if (walls.broker)
    return job.way === "run" || job.subjectClass !== "P2" || job.way === "submit" || job.way === "ticket";
  return job.way === "submit" || job.way === "ticket";
}

interface Attacked {
  fates: Fate[];
  /** Canaries at the provider: job number → how often. */
  arrived: Map<number, number>;
  requests: number;
  violations: number;
}

/** @param says layer of the egress node's heartbeat */
async function attack(run: string, which: Walls, says: "L1" | "L2" = "L2"): Promise<Attacked> {
  Object.assign(walls, which);
  const startedAtMs = performance.now();
  await using provider = await startProvider(OPENAI_HELLO);
  const believes = walls.admission ? "L2" : "L0";
  const mesh = await startWalledMesh(addressOf, provider.url, { believes, says });
  const addresses = { client: addressOf("client"), router: addressOf("router") };
  const sender = await HostileSender.open(addresses, mesh, walls.broker);
  const jobs = new HostileJobs(seed, run);
  const waiting = WAYS.flatMap((way) => Array.from({ length: JOBS[way] }, () => jobs.next(way))).filter(
    (job) => job.mayLeave || inTheWay(job) || run === "none",
  );
  const sent = waiting.length;
  const strict = waiting.filter((job) => !job.mayLeave).length;
  const fates: Fate[] = [];
  await sender.announce();
  await Promise.all(
    Array.from({ length: IN_FLIGHT }, async () => {
      for (let job = waiting.pop(); job !== undefined; job = waiting.pop()) {
        if (job.n % 50 === 0) await sender.announce();
        fates.push(await sender.send(job));
      }
    }),
  );
  await mesh[Symbol.asyncDispose]();
  await sender[Symbol.asyncDispose]();
  const arrived = new Map<number, number>();
  for (const { headers, path, text } of provider.requests) {
    const found = new Set(`${path} ${JSON.stringify(headers)} ${text}`.match(/CANARY\.[\w-]+\.\d+\./g));
    // Each request holds the words of one job.
    expect(found.size).toBe(1);
    for (const canary of found) {
      const n = Number(canary.split(".")[2]);
      arrived.set(n, (arrived.get(n) ?? 0) + 1);
    }
  }
  if (run !== "none") {
    total.settings++;
    total.jobs += sent;
    total.strict += strict;
    total.ms += performance.now() - startedAtMs;
    total.arrived += arrived.size;
    total.providerBytes += provider.bytesIn();
  }
  return { fates, arrived, requests: provider.requests.length, violations: sender.violations };
}

function leaks({ fates, arrived }: Attacked): HostileJob[] {
  return fates.map(({ job }) => job).filter((job) => arrived.has(job.n) && !job.mayLeave);
}

/** A job in words, for a failure. */
function words({ job, endings }: Pick<Fate, "job"> & Partial<Fate>): string {
  const body = Buffer.from(job.body).toString("latin1").slice(0, 200);
  return JSON.stringify({ ...job, request: undefined, body, endings });
}

const SETTINGS: [string, Walls, ("L1" | "L2")?][] = [
  ["all walls up", UP],
  ["without the router's filter", { ...UP, filter: false }],
  ["without the broker's permissions", { ...UP, broker: false }],
  ["without the agent's admission", { ...UP, admission: false }],
  ["without the egress gate", { ...UP, gate: false }],
  ["the router's filter alone", { ...DOWN, filter: true }],
  ["the broker's permissions alone", { ...DOWN, broker: true }],
  ["the agent's admission alone", { ...DOWN, admission: true }],
  ["the egress gate alone", { ...DOWN, gate: true }],
  ["an egress node that says it is L1, on a bus without permissions", { ...UP, broker: false }, "L1"],
  ["such a node, and no wall but its gate", { ...DOWN, gate: true }, "L1"],
];

test.each(SETTINGS)("no byte of P0 or P1 reaches the cloud: %s", async (name, which, says) => {
  const run = `s${SETTINGS.findIndex(([each]) => each === name)}`;
  const attacked = await attack(run, which, says);
  const { fates, arrived, requests, violations } = attacked;
  const honest = fates.filter(({ job }) => job.honest && job.way === "submit");
  const lost = honest.filter(({ endings, job }) => endings[0]?.[0] !== "finished" || !arrived.has(job.n));
  const unclear = fates.filter(({ endings }) => endings.some((each) => each.length !== 1 || each[0] === "silence"));
  // The seed stands in each failure: TIERMESH_HOSTILE_SEED=<seed> plays the same jobs again.
  expect({
    seed,
    leaks: leaks(attacked).map((job) => words({ job })),
    ranTwice: [...arrived].filter(([, times]) => times > 1),
    // What may leave does: the cloud is open. A node that says it is L1 is one among the house's, and looks slow after all
    // that it refused: of those only not all are lost.
    lost: says === "L1" ? lost.slice(honest.length - 1).map(words) : lost.map(words),
    // Each has one answer, or was dropped by the broker.
    unclear: unclear.map(words),
    violations,
  }).toEqual({
    seed,
    leaks: [],
    ranTwice: [],
    lost: [],
    unclear: [],
    violations: fates.filter(({ endings }) => endings[0]?.[0] === "dropped").length,
  });
  expect(honest.length).toBeGreaterThan(20);
  expect(requests).toBe(arrived.size);
});

test("with all four walls down the same jobs do bring P0 and P1 into the cloud, in every way", async () => {
  const attacked = await attack("none", DOWN);
  const leaked = leaks(attacked);
  const of = (which: (job: HostileJob) => boolean) => leaked.filter(which).length;
  const ways = WAYS.map((way) => of((job) => job.way === way));
  const levels = ["P0", "P1"].map((level) =>
    of((job) => job.way === "submit" && job.request["security_level"] === level),
  );
  expect(Math.min(...ways, ...levels)).toBeGreaterThan(3);
});

test("those were more than ten thousand hostile jobs", ({ skip }) => {
  const { arrived, jobs, ms, providerBytes, settings, strict } = total;
  if (settings < SETTINGS.length) skip("only some of the settings ran");
  console.log(
    `${jobs} hostile jobs in ${(ms / 1000).toFixed(1)} s, ${strict} of them P0 or P1, none of which left; ${arrived} P2 jobs and ${providerBytes} bytes at the cloud`,
  );
  expect(strict).toBeGreaterThan(8000);
  expect(jobs).toBeGreaterThan(10_000);
});
