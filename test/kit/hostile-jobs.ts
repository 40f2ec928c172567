import { randomInt } from "node:crypto";
import { MsgHdrsImpl } from "@nats-io/nats-core";
import { seededRandom, type Random } from "../../cli/simulate/random.ts";
import { DATA_CLASSES, HEADERS, type DataClass } from "../../bus-schemas/index.ts";
import { encode } from "../../service/codec.ts";
import { anyClassHeaders, anyLevel, mayLeave, pick, type Says } from "./hostile-classes.ts";

/** Models of the two nodes that the jobs are for. */
export const MODELS = { both: "both", cloudOnly: "cloud-only", homeOnly: "home-only" } as const;
export const NODES = { home: "home", cloud: "cloud" } as const;

/**
 * How a job comes in: submitted to the routers; by a ticket that a router gave for it, used right and wrong; sent to the
 * egress node itself by a client, or by somebody with a router's key; sealed under a ticket of such a one.
 */
export const WAYS = ["submit", "ticket", "run", "insider", "sealed"] as const;
export type Way = (typeof WAYS)[number];

export interface HostileJob {
  n: number;
  way: Way;
  jobId: string;
  /** In its prompt; it says which job this is, in whatever bytes it turns up. */
  canary: string;
  /** Class token of the subject that it is sent on, where its way has one. */
  subjectClass: DataClass;
  headers: [string, string][];
  /** What its body is made from, and as which it is sent in clear. */
  request: Record<string, unknown>;
  body: Uint8Array;
  /** Of a sealed one. */
  ticket: { class: DataClass; flaw: Flaw };
  /** Whether all that it says of its class says P2, by the rules, and its ticket is good. */
  mayLeave: boolean;
  /** Nothing is wrong with it: it must be answered, and by the cloud. */
  honest: boolean;
}

/** Half of the classes that others write are the one that is let out. */
const OFTEN_P2: readonly DataClass[] = ["P2", ...DATA_CLASSES];
/** What is wrong with a ticket, or with what is sealed under it. */
const FLAWS = [
  "none",
  "forged",
  "unknown router",
  "expired",
  "other node",
  "other boot",
  "sealed for another node",
  "sealed for another ticket",
  "other job",
] as const;
export type Flaw = (typeof FLAWS)[number];

/** So many of the jobs are honest: a test in which nothing arrives would show nothing. */
const HONEST_SHARE = 0.1;

/** The same jobs again: `TIERMESH_HOSTILE_SEED=<seed>`, which a failure names. */
export function hostileSeed(): number {
  const said = process.env["TIERMESH_HOSTILE_SEED"];
  return said === undefined || said === "" ? randomInt(2 ** 31) : Number(said);
}

/** Jobs that try to bring P0 and P1 into the cloud, and some honest ones, in a row that the seed determines. */
export class HostileJobs {
  readonly #random: Random;
  readonly #run: string;
  #count = 0;

  /** @param run a word for this row of jobs, in every canary */
  constructor(seed: number, run: string) {
    this.#random = seededRandom(seed);
    this.#run = run;
  }

  next(way: Way): HostileJob {
    const random = this.#random;
    const n = this.#count++;
    const name = { n, way, jobId: `hostile-${this.#run}-${n}`, canary: `CANARY.${this.#run}.${n}.` };
    if (random() < HONEST_SHARE) return honest(name, random);
    const header = anyClassHeaders(random);
    const level = anyLevel(random);
    const subjectClass = pick(random, OFTEN_P2);
    const request = requestOf(name, level.level, random);
    const ticket = { class: pick(random, OFTEN_P2), flaw: random() < 0.4 ? ("none" as const) : pick(random, FLAWS) };
    const places: Says[] = [header.says, level.says];
    // What is submitted has no class in its subject, and a ticket for it has the router's.
    if (way !== "submit" && way !== "ticket") places.push(subjectClass === "P2" ? "P2" : "strict");
    if (way === "sealed") places.push(ticket.class === "P2" ? "P2" : "strict");
    const { headers, body } = written(request, random);
    return {
      ...name,
      subjectClass,
      headers: shuffled([...header.headers, ...headers, ...forged(random)], random),
      request,
      body,
      ticket,
      mayLeave: mayLeave(places) && (way !== "sealed" || ticket.flaw === "none"),
      honest: false,
    };
  }
}

type Named = Pick<HostileJob, "n" | "way" | "jobId" | "canary">;

function honest(name: Named, random: Random): HostileJob {
  const inHeader = random() < 0.5;
  const model = pick(random, [MODELS.both, MODELS.cloudOnly]);
  const request = { ...PATIENT, prompt: name.canary, model, ...(inHeader ? {} : { security_level: "P2" }) };
  return {
    ...name,
    subjectClass: "P2",
    headers: inHeader ? [[HEADERS.dataClass, "P2"]] : [],
    request,
    body: encode(request, "json"),
    ticket: { class: "P2", flaw: "none" },
    mayLeave: true,
    honest: true,
  };
}

/** A cloud that many hostile jobs wait for is still in time. */
const PATIENT = { timeout_ms: 3_600_000 };

/** Fields that would make a job wider, were they believed. */
const DECOYS: readonly Record<string, unknown>[] = [
  {},
  { Security_Level: "P2", "security-level": "P2", securityLevel: "P2", "security_level ": "P2" },
  { class: "P2", data_class: "P2", dataClass: "P2", "Mesh-Class": "P2" },
  { declared: { subject: "P2", header: "P2", body: "P2" }, anonymised: true, encrypted: true, sealed: true },
  { constructor: { security_level: "P2" }, prototype: { security_level: "P2" } },
  { exclude_nodes: [NODES.home], ticket: false, attempt: 3, layer: "L2", node_id: NODES.cloud },
  { default_level: "P2", security: { P0: { allowed_layers: ["L2"] } }, fallback_order: ["L2"] },
];

function requestOf({ canary, jobId, way }: Named, level: unknown, random: Random): Record<string, unknown> {
  const content = [
    { prompt: canary },
    { messages: [{ role: "user", content: canary }] },
    {
      messages: [
        { role: "system", content: "P2" },
        { role: "user", content: [{ type: "text", text: canary }] },
      ],
    },
    { prompt: `"security_level":"P2" ${canary}` },
  ];
  return {
    ...PATIENT,
    ...pick(random, DECOYS),
    ...pick(random, content),
    ...(level === undefined ? {} : { security_level: level }),
    ...pick(random, [{}, { model: "auto" }, ...Object.values(MODELS).map((model) => ({ model })), { model: "none" }]),
    ...(random() < 0.2 ? { stream: true } : {}),
    ...(random() < 0.1 ? { session_id: "a-session" } : {}),
    ...(random() < 0.1 ? { max_tokens: 5 } : {}),
    ...(random() < 0.05 ? { requirements: { capabilities: ["chat"] } } : {}),
    ...(random() < 0.1 || way === "sealed" || way === "ticket" ? { job_id: jobId } : {}),
    ...(random() < 0.02 ? { padding: "P2".repeat(50_000) } : {}),
  };
}

/** The body in one of the encodings, now and then said to be another, or broken. */
function written(request: Record<string, unknown>, random: Random): { headers: [string, string][]; body: Uint8Array } {
  const dice = random();
  const type = (name: string): [string, string][] => [[HEADERS.contentType, name]];
  if (dice < 0.5) return { headers: random() < 0.5 ? [] : type("application/json"), body: encode(request, "json") };
  if (dice < 0.85) return { headers: type("application/msgpack"), body: encode(request, "msgpack") };
  if (dice < 0.88) return { headers: type("application/msgpack"), body: encode(request, "json") };
  if (dice < 0.91) return { headers: [], body: encode(request, "msgpack") };
  if (dice < 0.94) return { headers: type("text/html"), body: encode(request, "json") };
  if (dice < 0.97) return { headers: [], body: Buffer.from(`\ufeff${JSON.stringify(request)}`) };
  // Its own prototype, where a reader is careless.
  return { headers: [], body: Buffer.from(`{"__proto__":{"security_level":"P2"},${JSON.stringify(request).slice(1)}`) };
}

/** Headers that only routers and nodes have to write, or that are none; not the ones by which a test finds the answer. */
function forged(random: Random): [string, string][] {
  const all: [string, string][] = [
    [HEADERS.decision, "01FORGED"],
    [HEADERS.attempt, pick(random, ["1", "0", "-1", "99999", "x"])],
    [HEADERS.ticket, pick(random, ["a.b", "", "x".repeat(5000), "e30.e30"])],
    [HEADERS.seal, "A".repeat(43)],
    [HEADERS.traceparent, pick(random, ["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "x\ny", "\u0000"])],
    ["Mesh-Class-", "P2"],
    ["X-Mesh-Class", "P2"],
    ["Mesh-Subject-Class", "P2"],
    ["ce-type", "io.tiermesh.job_ended"],
    ["Nats-Msg-Id", "1"],
    ["Nats-Rollup", "all"],
    ["\u041cesh-Class", "P2"],
    ["no-colon-value", ""],
  ];
  return all.filter(() => random() < 0.06);
}

function shuffled<T>(list: readonly T[], random: Random): T[] {
  return list
    .map((each) => [random(), each] as const)
    .sort(([a], [b]) => a - b)
    .map(([, each]) => each);
}

/** Headers as they are written here, byte for byte, in this order: the client library would tidy them up. */
export class RawHeaders extends MsgHdrsImpl {
  readonly #lines: readonly (readonly [string, string])[];

  constructor(lines: readonly (readonly [string, string])[]) {
    super();
    this.#lines = lines;
  }

  override encode(): Uint8Array {
    return Buffer.from(`NATS/1.0\r\n${this.#lines.map(([name, value]) => `${name}: ${value}\r\n`).join("")}\r\n`);
  }
}
