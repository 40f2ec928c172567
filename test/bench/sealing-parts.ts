import type { Ticket } from "../../bus-schemas/index.ts";
import {
  FrameKey,
  TicketSigner,
  expectJob,
  newNodeKey,
  openJob,
  paddedJson,
  publicText,
  readTicket,
  sealJob,
  ticketVerifier,
} from "../../service/sealing/index.ts";
import { paired, type Comparison, type Variant } from "./harness.ts";
import { DELTA } from "./samples.ts";

/** Operations of a round. */
const OPS = 100;
const JOB = "01K9ZQ6V3M8N5T2R7W4X1Y0ABC";

/** Each step of sealing alone, warm, in one process: a job of 512 bytes, a real ticket, a piece of an answer. */
export async function sealingParts(): Promise<Comparison> {
  const keys = await newNodeKey();
  const to = { cell: "mesh.main", node: "n1", kid: "k1", publicKey: publicText(keys) };
  const signer = new TicketSigner();
  const ticket: Ticket = {
    v: 1,
    router: "router-0-t",
    signer: signer.kid,
    id: "a1",
    job: JOB,
    class: "P0",
    node: to.node,
    layer: "L1",
    boot_id: JOB,
    model: "llama3.1-8b",
    kid: to.kid,
    public_key: to.publicKey,
    issued_unix_ms: 1_800_000_000_000,
    expires_unix_ms: 1_800_000_030_000,
    deadline_unix_ms: 1_800_000_060_000,
    decision_id: JOB,
    attempt: 1,
  };
  const token = signer.sign(ticket);
  const verify = ticketVerifier({ router: ticket.router, kid: signer.kid, public_key: signer.publicKey });
  const job = new Uint8Array(512);
  const seal = () => sealJob(job, to, token, JOB);
  const { sealed, enc } = await seal();
  const frames = new FrameKey(new Uint8Array(32), JOB);
  const frame = frames.seal(1, paddedJson(DELTA));
  return paired("what sealing is made of, each alone", {
    "HPKE seal": each(seal),
    "HPKE seal, its sender made ahead": each(seal, async () => {
      expectJob(to);
      await new Promise(setImmediate);
      // The sender is a chain of promises that ends within this turn.
      await new Promise(setImmediate);
    }),
    "HPKE open": each(() => openJob(sealed, enc, { ...to, keys }, token, JOB)),
    "ticket: sign": each(() => signer.sign(ticket)),
    "ticket: read and verify": each(() => readTicket(token).v === 1 && verify(token)),
    "frame: write, pad and seal": each(() => frames.seal(1, paddedJson(DELTA))),
    "frame: open": each(() => frames.open(1, frame)),
  });
}

function each(one: () => unknown, before: () => Promise<void> = async () => undefined): Variant {
  return async () => {
    const latenciesUs: number[] = [];
    for (let i = 0; i < OPS; i++) {
      await before();
      const startMs = performance.now();
      await one();
      latenciesUs.push((performance.now() - startMs) * 1000);
    }
    return { ops: OPS, latenciesUs };
  };
}
