import { HEADERS, JobResult, type DataClass, type Ticket } from "../../bus-schemas/index.ts";
import { NodeKeys } from "../../agent/sealing/node-keys.ts";
import { RouterKeys } from "../../agent/sealing/router-keys.ts";
import { SealedIntake } from "../../agent/sealing/sealed-intake.ts";
import type { Bus } from "../../service/bus.ts";
import { createLog } from "../../service/log.ts";
import { TicketSigner, paddedJson, readTicket, sealJob } from "../../service/sealing/index.ts";
import { INBOX, agentParts } from "./agent-parts.ts";

export const CELL = "mesh.main";
const ROUTER = "router-1-t";
export const VERDICT = "mesh.main.job.verdict.router-1-t.n1";
export const JOB = "job-00000001";

/** An agent `n1` that knows one router's key and the router's side of it: tickets, and seals as a client makes them. */
export async function sealingParts(options: { layer?: "L0" | "L2"; slots?: number } = {}) {
  const kit = agentParts(options);
  const { bus, intake, desk, rejected } = kit;
  const rejections = { add: (kind: string, error: never) => void rejected.push({ kind, error }) };
  const keys = new NodeKeys(3_600_000);
  await keys.rotate();
  const routers = new RouterKeys(rejections as never);
  routers.start(bus as unknown as Bus);
  const clock = { nowMs: Date.now() };
  const sealed = new SealedIntake({
    nodeId: "n1",
    layer: options.layer ?? "L0",
    bootId: "boot-1",
    bus: bus as unknown as Bus,
    keys,
    routers,
    intake,
    load: () => desk.load(),
    rejections: rejections as never,
    log: createLog("test", "silent"),
    nowMs: () => clock.nowMs,
  });
  sealed.start();
  const signer = new TicketSigner();
  const announce = (by = signer, router = ROUTER) =>
    bus.deliver(`mesh.main.router.key.${router}`, { router, kid: by.kid, public_key: by.publicKey });
  announce();
  const [announced] = keys.announced;
  if (announced === undefined) throw new Error("no key");
  let count = 0;
  const ticket = (overrides: Partial<Ticket> = {}): Ticket => ({
    v: 1,
    router: ROUTER,
    signer: signer.kid,
    id: `t${count++}`,
    job: JOB,
    class: "P0",
    node: "n1",
    layer: "L0",
    boot_id: "boot-1",
    model: "tiny",
    kid: announced.kid,
    public_key: announced.public_key,
    issued_unix_ms: clock.nowMs,
    expires_unix_ms: clock.nowMs + 30_000,
    deadline_unix_ms: clock.nowMs + 60_000,
    decision_id: "01DECISION",
    attempt: 1,
    ...overrides,
  });
  const seal = async (token: string, body: unknown, node = "n1") => {
    const { kid, public_key: publicKey, job } = readTicket(token);
    return sealJob(
      body instanceof Uint8Array ? body : paddedJson(body),
      { cell: CELL, node, kid, publicKey },
      token,
      job,
    );
  };
  const send = (
    token: string,
    { sealed: data, enc }: { sealed: Uint8Array; enc: string },
    { dataClass = "P0" as DataClass, headers = {} as Record<string, string>, reply = INBOX } = {},
  ) =>
    bus.deliver(bus.subjects.sealed(dataClass, "n1"), data, {
      reply,
      headers: { [HEADERS.job]: JOB, [HEADERS.ticket]: token, [HEADERS.seal]: enc, ...headers },
    });
  /** Seals a job for a ticket, sends it, and waits for the first thing that the agent says to its caller. */
  const run = async (
    of: Ticket = ticket(),
    body: unknown = { prompt: "a secret", stream: true },
    rest: Parameters<typeof send>[2] = {},
  ) => {
    const token = signer.sign(of);
    const made = await seal(token, body);
    const before = bus.on(INBOX).length;
    send(token, made, rest);
    const first = await bus.next(INBOX, before);
    return { token, made, first, key: made.answer };
  };
  const refusal = async (...args: Parameters<typeof run>) => JobResult.parse((await run(...args)).first.json());
  const verdicts = () => bus.on(VERDICT);
  return { ...kit, clock, keys, signer, announce, announced, ticket, seal, send, run, refusal, verdicts };
}
