import type { DataClass, Layer } from "./classes.ts";

/** Cell of a mesh that names none. */
export const DEFAULT_CELL = "main";
/** Queue group in which all routers of a cell share the submitted jobs. */
export const ROUTER_QUEUE_GROUP = "router";
/** Class token of events that concern no job. */
export const NO_CLASS = "none";
/** What stands in an event subject's place for the class. */
export type EventClass = DataClass | typeof NO_CLASS;

const TOKEN = /^[A-Za-z0-9_-]{1,64}$/;

function token(value: string): string {
  if (!TOKEN.test(value)) throw new RangeError(`not a subject token: ${JSON.stringify(value.slice(0, 80))}`);
  return value;
}

/** The only speller of subjects (DESIGN §2). `cell` is one subject token; the default cell is `main`. */
export function subjects(cell = DEFAULT_CELL) {
  return spell(cell, token);
}

/** As `subjects`, with `*` allowed in the places, and `>` in a last one: what a broker may be told to permit or deny. */
export function subjectPatterns(cell = DEFAULT_CELL) {
  return spell(cell, (value) => (value === "*" || value === ">" ? value : token(value)));
}

function spell(cell: string, token: (value: string) => string) {
  const prefix = `mesh.${token(cell)}`;
  const policyBucket = `tiermesh-policy-${cell}`;
  const qualityBucket = `tiermesh-quality-${cell}`;
  const nodesBucket = `tiermesh-nodes-${cell}`;
  const sleepBucket = `tiermesh-sleep-${cell}`;
  const auditorBucket = `tiermesh-auditor-${cell}`;
  const ofCell = (stream: string) => (cell === DEFAULT_CELL ? stream : `${stream}_${cell}`);
  return {
    prefix,
    /** Name of the JetStream stream that keeps every event of the cell; cells may share a broker. */
    auditStream: ofCell("AUDIT"),
    /** Streams of durable jobs (ADR 0019): what waits or runs, each job's state, results, and dead letters. */
    jobStreams: {
      work: ofCell("JOBS"),
      states: ofCell("JOB_STATES"),
      results: ofCell("JOB_RESULTS"),
      letters: ofCell("JOB_LETTERS"),
    },
    /**
     * JetStream KV bucket (NATS ADR-8) of the cell's routing policy: its stream, its one key's subject. `nats kv` reads
     * it as `tiermesh-policy-<cell>`, key `routing`.
     */
    policyBucket: { name: policyBucket, stream: `KV_${policyBucket}`, key: `$KV.${policyBucket}.routing` },
    /** JetStream KV bucket of models' quality per task type; each key is what `qualityKey` makes. */
    qualityBucket: {
      name: qualityBucket,
      stream: `KV_${qualityBucket}`,
      prefix: `$KV.${qualityBucket}.`,
      keys: `$KV.${qualityBucket}.>`,
    },
    /** JetStream KV bucket of the nodes that may speak here (registry.ts), one key each. */
    nodesBucket: {
      name: nodesBucket,
      stream: `KV_${nodesBucket}`,
      prefix: `$KV.${nodesBucket}.`,
      /** Not a node's: a node's name has no dot. */
      invitation: `$KV.${nodesBucket}.invitation.current`,
      keys: `$KV.${nodesBucket}.>`,
    },
    /** JetStream KV bucket of nodes that sleep, and how they were woken (wake.ts), one key each. */
    sleepBucket: {
      name: sleepBucket,
      stream: `KV_${sleepBucket}`,
      prefix: `$KV.${sleepBucket}.`,
      keys: `$KV.${sleepBucket}.>`,
    },
    /** JetStream KV bucket with one key: who writes the auditor's log, and how far it is agreed on (audit.ts, ADR 0027). */
    auditorBucket: { name: auditorBucket, stream: `KV_${auditorBucket}`, key: `$KV.${auditorBucket}.head` },
    /** JetStream stream of the agents' releases (release.ts, ADR 0030): their descriptions, their bytes, and who upgrades now. */
    releaseStream: ofCell("RELEASES"),
    /** operator → stream RELEASES: what a release is, by its version (`releaseKey`). */
    release: (version: string) => `${prefix}.release.version.${token(version)}`,
    releases: `${prefix}.release.version.*`,
    /** operator → stream RELEASES: a piece of the file with that SHA-256. */
    releaseChunk: (sha256: string, chunk: string) => `${prefix}.release.file.${token(sha256)}.${token(chunk)}`,
    allReleaseChunks: `${prefix}.release.file.*.*`,
    releaseChunks: (sha256: string) => `${prefix}.release.file.${token(sha256)}.*`,
    /** operator → stream RELEASES: who upgrades the fleet. */
    upgradeLock: `${prefix}.release.lock`,
    /** agent → the broker's keeper: one piece of a file, please. */
    releaseGet: (node: string) => `${prefix}.release.get.${token(node)}`,
    releaseGets: `${prefix}.release.get.*`,
    /** agent → routers, monitor, gateway; every second, the whole node record. */
    heartbeat: (layer: Layer, node: string) => `${prefix}.heartbeat.${layer}.${token(node)}`,
    heartbeats: `${prefix}.heartbeat.*.*`,
    /** any client → routers; one reply, or a stream of replies. */
    submit: (queue: string) => `${prefix}.job.submit.${token(queue)}`,
    submits: `${prefix}.job.submit.*`,
    /** any client → routers; decide only. */
    route: `${prefix}.job.route`,
    /** router → agent. */
    run: (dataClass: DataClass, node: string) => `${prefix}.job.run.${dataClass}.${node}`,
    /** What an agent subscribes to: its own jobs of one class, so that the broker can deny a class. */
    runs: (dataClass: DataClass, node: string) => `${prefix}.job.run.${dataClass}.${token(node)}`,
    /** ticket holder → agent, a body that only the node can open. */
    sealed: (dataClass: DataClass, node: string) => `${prefix}.job.sealed.${dataClass}.${token(node)}`,
    /** router → agents; every second, the key that its tickets are signed with (ticket.ts). */
    routerKey: (router: string) => `${prefix}.router.key.${token(router)}`,
    routerKeys: `${prefix}.router.key.*`,
    /**
     * agent → the router that dispatched: accepted, refused, ended (ADR 0004); the other routers hear the load in it. The node
     * is in it so that the broker lets no other speak for it.
     */
    verdict: (router: string, node: string, dispatch: string) => `${prefix}.job.verdict.${router}.${node}.${dispatch}`,
    verdicts: `${prefix}.job.verdict.*.*.*`,
    /** client → routers, about a durable job; one reply. */
    status: `${prefix}.job.status`,
    withdraw: `${prefix}.job.withdraw`,
    /** router → stream JOBS: a durable job until it has ended. */
    work: (queue: string, job: string) => `${prefix}.queue.work.${token(queue)}.${token(job)}`,
    works: (queue: string) => `${prefix}.queue.work.${token(queue)}.*`,
    allWork: `${prefix}.queue.work.*.*`,
    /** router → stream JOB_STATES. */
    jobState: (job: string) => `${prefix}.queue.state.${token(job)}`,
    jobStates: `${prefix}.queue.state.*`,
    /** router → stream JOB_RESULTS: what the run with that fencing token answered. */
    jobResult: (job: string, fence: string) => `${prefix}.queue.result.${token(job)}.${token(fence)}`,
    jobResults: `${prefix}.queue.result.*.*`,
    /** router → stream JOB_LETTERS. */
    letter: (queue: string, id: string) => `${prefix}.queue.letter.${token(queue)}.${token(id)}`,
    letters: `${prefix}.queue.letter.*.*`,
    /** operator → routers: the desk of the queues (durable.ts). */
    desk: (verb: string) => `${prefix}.queue.desk.${token(verb)}`,
    desks: `${prefix}.queue.desk.*`,
    /** client → agent and router. */
    cancel: (job: string) => `${prefix}.job.cancel.${token(job)}`,
    cancels: `${prefix}.job.cancel.*`,
    /** operator → agent. */
    control: (node: string) => `${prefix}.node.control.${token(node)}`,
    /** operator → routers: a machine that sleeps is wanted (wake.ts). */
    wake: `${prefix}.node.wake`,
    /** router → agent: send a magic packet to a neighbour of yours. */
    magic: (node: string) => `${prefix}.node.magic.${token(node)}`,
    /** the broker's keeper → routers: the broker has lost a node's connection (ADR 0016). */
    nodeGone: (node: string) => `${prefix}.node.gone.${token(node)}`,
    nodesGone: `${prefix}.node.gone.*`,
    /** the broker's system account → its keeper: who connected and who is gone, of this bus only. */
    advisory: (advisory: "connect" | "disconnect") => `${prefix}.advisory.${advisory}`,
    /** operator → the broker's keeper: who may join (registry.ts). */
    registryAdd: `${prefix}.registry.add`,
    registryRevoke: `${prefix}.registry.revoke`,
    registryList: `${prefix}.registry.list`,
    registryInvite: `${prefix}.registry.invite`,
    registryDecide: `${prefix}.registry.decide`,
    /** a machine with an invitation → the broker's keeper. */
    registryAsk: `${prefix}.registry.ask`,
    registryReader: `${prefix}.registry.reader`,
    /** a token's holder → the broker's keeper. */
    registryJoin: (node: string) => `${prefix}.registry.join.${token(node)}`,
    registryJoins: `${prefix}.registry.join.*`,
    /**
     * everyone → stream AUDIT. The sender's process and name are part of the subject, because a broker can permit
     * subjects only: so it is the broker who keeps one process from speaking as another (ADR 0012).
     */
    event: (type: string, dataClass: EventClass, process: string, name: string) =>
      `${prefix}.event.${token(type)}.${dataClass}.${token(process)}.${token(name)}`,
    /** Events of one type and class, whoever says them. */
    eventsOf: (type: string, dataClass: EventClass) => `${prefix}.event.${token(type)}.${dataClass}.*.*`,
    events: `${prefix}.event.>`,
    /** operator → auditor: entries of the log (audit.ts). */
    auditQuery: `${prefix}.audit.query`,
    /** operator → auditor: numbers over the log. */
    auditStats: `${prefix}.audit.stats`,
    /** operator → auditor: something was taken out of the mesh (events-changes.ts). */
    auditExport: `${prefix}.audit.export`,
    /** whoever knows a job's id → auditor: the proof that its ending is in the log. */
    auditReceipt: `${prefix}.audit.receipt`,
    /** monitor, auditor → subscribers. */
    alert: (severity: string, rule: string) => `${prefix}.alert.${token(severity)}.${token(rule)}`,
    alerts: `${prefix}.alert.>`,
    /** any process → a holder of that structure table (see structures.ts). */
    codec: (version: string) => `${prefix}.codec.${token(version)}`,
  };
}

export type Subjects = ReturnType<typeof subjects>;

/** The tokens of a heartbeat subject, or undefined when it is not one. */
export function parseHeartbeatSubject(subject: string): { layer: string; node: string } | undefined {
  const parts = subject.split(".");
  const [, , kind, layer, node] = parts;
  if (parts.length !== 5 || kind !== "heartbeat" || layer === undefined || node === undefined) return undefined;
  return { layer, node };
}

/** The router of a verdict's subject. */
export function verdictRouter(subject: string): string {
  return subject.split(".").at(-3) ?? "";
}

/** The node of a verdict's subject. */
export function verdictNode(subject: string): string {
  return subject.split(".").at(-2) ?? "";
}

/** What the subject of an event says of it. */
export interface EventSubject {
  type: string;
  /** P0, P1, P2 or none, unless the sender made it up. */
  dataClass: string;
  process: string;
  name: string;
}

/** The tokens of an event subject, or undefined when it is not one. */
export function parseEventSubject(subject: string): EventSubject | undefined {
  const parts = subject.split(".");
  const [, , kind, type, dataClass, process, name] = parts;
  if (parts.length !== 7 || kind !== "event" || type === undefined || dataClass === undefined) return undefined;
  if (process === undefined || name === undefined) return undefined;
  return { type, dataClass, process, name };
}

/** CloudEvents `source` of the events of a process: what their subjects say of it. */
export function eventSource({ process, name }: Pick<EventSubject, "process" | "name">): string {
  return `${process}/${name}`;
}

/** The last token: the queue of a submit, the job of a cancel, the dispatch of a verdict, the node of a run. */
export function lastToken(subject: string): string {
  return subject.slice(subject.lastIndexOf(".") + 1);
}

/** Whether a subject is an inbox, where answers may go: `_INBOX` and one to six tokens. */
export function isInbox(subject: string): boolean {
  return /^_INBOX(\.[A-Za-z0-9_-]{1,64}){1,6}$/.test(subject);
}
