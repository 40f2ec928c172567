import { beforeEach, expect, test } from "vitest";
import { HEADERS, JobResult, StreamFrame, type DataClass, type Ticket } from "../../bus-schemas/index.ts";
import { TicketSigner, paddedJson, sealJob, type FrameKey } from "../../service/sealing/index.ts";
import { INBOX } from "../../test/kit/agent-parts.ts";
import { CELL, JOB, VERDICT, sealingParts } from "../../test/kit/sealing-parts.ts";
import { NodeKeys } from "./node-keys.ts";

let kit: Awaited<ReturnType<typeof sealingParts>>;
beforeEach(async () => {
  kit = await sealingParts();
});

function open(key: FrameKey, sent: { data: Uint8Array; headers: { get(name: string): string } | undefined }) {
  const seq = Number(sent.headers?.get(HEADERS.seq));
  return StreamFrame.parse(JSON.parse(new TextDecoder().decode(key.open(seq, sent.data))));
}

test("a sealed job runs as any other, its answer goes back sealed, and its ending is on record as sealed", async () => {
  const { bus, events, run, verdicts, work } = kit;
  const { key } = await run();
  expect(work.runs[0]?.job.messages).toEqual([{ role: "user", content: "a secret" }]);
  work.runs[0]?.say("the answer");
  work.runs[0]?.done();
  const frames = bus.on(INBOX).map((sent) => open(key, sent));
  expect(frames.map(({ type }) => type)).toEqual(["accepted", "delta", "end"]);
  expect(frames[1]).toMatchObject({ content: "the answer" });
  expect(frames[2]).toMatchObject({ status: "finished", job_id: JOB, security_level: "P0", attempts: 1 });
  expect(bus.on(INBOX).map(({ headers }) => [headers?.get(HEADERS.contentType), headers?.get(HEADERS.seq)])).toEqual(
    ["0", "1", "2"].map((seq) => ["application/x-tiermesh-sealed", seq]),
  );
  // Short pieces are all of one length, so that the lengths do not give away the words.
  expect(new Set(bus.on(INBOX).map(({ data }) => data.length % 256))).toEqual(new Set([16]));
  expect(events.of("job_ended")).toMatchObject([{ sealed: true, status: "finished", decision_id: "01DECISION" }]);
  expect(verdicts().map(({ subject }) => subject)).toEqual([`${VERDICT}.t0`, `${VERDICT}.t0`]);
  const said = JSON.stringify([events.seen, ...bus.sent.map(({ data }) => Buffer.from(data).toString("latin1"))]);
  expect(said).not.toContain("a secret");
  expect(said).not.toContain("the answer");
});

test("without stream the one answer is sealed too", async () => {
  const { bus, signer, ticket, seal, send, work } = kit;
  const token = signer.sign(ticket());
  const made = await seal(token, { prompt: "x" });
  send(token, made);
  while (work.runs.length === 0) await new Promise(setImmediate);
  work.runs[0]?.say("the answer");
  work.runs[0]?.done();
  expect(open(made.answer, await bus.next(INBOX))).toMatchObject({ message: { content: "the answer" } });
});

test.each<[string, string, (k: typeof kit) => Partial<Ticket>]>([
  ["for another node", "node", () => ({ node: "n2" })],
  ["for this node before its restart", "boot_id", () => ({ boot_id: "boot-0" })],
  [
    "whose time is over",
    "expires_unix_ms",
    ({ clock: { nowMs } }) => ({ issued_unix_ms: nowMs - 30_001, expires_unix_ms: nowMs - 1 }),
  ],
  [
    "from the future",
    "expires_unix_ms",
    ({ clock: { nowMs } }) => ({ issued_unix_ms: nowMs + 30_001, expires_unix_ms: nowMs + 60_001 }),
  ],
  ["that would last too long", "expires_unix_ms", ({ clock: { nowMs } }) => ({ expires_unix_ms: nowMs + 30_001 })],
  ["for a key that this node does not have", "kid", () => ({ kid: "other" })],
  ["of a router that nobody knows", "signature", () => ({ router: "router-9" })],
  ["by a key that its router does not announce", "signature", () => ({ signer: "other" })],
])("a ticket %s is refused, as an event too, and nothing runs", async (_, field, overrides) => {
  const { rejected, refusal, ticket, work } = kit;
  const result = await refusal(ticket(overrides(kit)));
  expect(result).toMatchObject({ status: "refused", node_id: "n1", job_id: JOB });
  expect(result.error).toMatchObject({ code: "ticket_rejected", field, retryable: true });
  expect(rejected).toMatchObject([{ kind: "sealed", error: { code: "ticket_rejected", field } }]);
  expect(work.runs).toEqual([]);
});

test("a forged ticket is refused: another key's signature, a changed payload, none, garbage", async () => {
  const { announced, bus, send, signer, ticket, verdicts, work } = kit;
  const good = signer.sign(ticket());
  const [payload = "", signature = ""] = good.split(".");
  const wider = Buffer.from(JSON.stringify(ticket({ deadline_unix_ms: 9_999_999_999_999 }))).toString("base64url");
  const to = { cell: CELL, node: "n1", kid: announced.kid, publicKey: announced.public_key };
  const flipped = `${signature.startsWith("A") ? "B" : "A"}${signature.slice(1)}`;
  const tokens = [
    new TicketSigner().sign(ticket()),
    `${wider}.${signature}`,
    `${payload}.${flipped}`,
    `${payload}.`,
    payload,
    "",
    ".",
    "a.b.c",
    "x".repeat(5000),
    `${Buffer.from("{}").toString("base64url")}.${signature}`,
    `${Buffer.from(JSON.stringify({ ...ticket(), extra: 1 })).toString("base64url")}.${signature}`,
  ];
  for (const [i, token] of tokens.entries()) {
    send(token, await sealJob(paddedJson({ prompt: "x" }), to, token, JOB));
    const { error } = JobResult.parse((await bus.next(INBOX, i)).json());
    expect(error?.code).toBe("ticket_rejected");
  }
  expect([work.runs, verdicts()]).toEqual([[], []]);
});

test("a ticket is used once: the same message again, or another job under it, is refused and the first runs on", async () => {
  const { bus, made, token, send, seal, work, rejected } = { ...kit, ...(await kit.run()) };
  for (const again of [made, await seal(token, { prompt: "another" })]) {
    const before = bus.on(INBOX).length;
    send(token, again);
    const { error } = JobResult.parse((await bus.next(INBOX, before)).json());
    expect(error).toMatchObject({ code: "ticket_rejected", field: "id" });
  }
  expect(work.runs).toHaveLength(1);
  expect(work.runs[0]?.cancelled).toBe(false);
  expect(rejected.map(({ error }) => error.field)).toEqual(["id", "id"]);
  // Its router is not told that a running job was refused.
  expect(kit.verdicts()).toHaveLength(1);
});

test.each<[string, Partial<Ticket>, { dataClass?: DataClass; header?: string; body?: string }]>([
  ["subject wider than ticket", { class: "P0" }, { dataClass: "P2" }],
  ["subject stricter than ticket", { class: "P2" }, { dataClass: "P0" }],
  ["body stricter than ticket", { class: "P2" }, { dataClass: "P2", body: "P0" }],
  ["body that looks stricter than ticket", { class: "P2" }, { dataClass: "P2", body: "p0" }],
  ["header stricter than ticket", { class: "P1" }, { dataClass: "P1", header: "P0" }],
])("classes that disagree are refused and recorded: %s", async (_, of, { dataClass = "P0", header, body }) => {
  const { refusal, rejected, ticket, work } = kit;
  const headers: Record<string, string> = header === undefined ? {} : { [HEADERS.dataClass]: header };
  const job = { prompt: "x", stream: true, ...(body === undefined ? {} : { security_level: body }) };
  const { error } = await refusal(ticket(of), job, { dataClass, headers });
  expect(error?.code).toBe("forbidden");
  expect(rejected).toMatchObject([{ kind: "sealed", error: { code: "forbidden" } }]);
  expect(work.runs).toEqual([]);
});

test.each(["p0", "P 0", "\u04200", "garbage", "p2"])(
  "a header that is no class is refused and recorded: %j",
  async (said) => {
    const { refusal, rejected, ticket, work } = kit;
    for (const of of ["P0", "P2"] as const) {
      const result = await refusal(ticket({ class: of }), undefined, {
        dataClass: of,
        headers: { [HEADERS.dataClass]: said },
      });
      expect(result).toMatchObject({ status: "refused", error: { code: "bad_request", field: HEADERS.dataClass } });
    }
    expect(rejected).toMatchObject([{ kind: "sealed" }, { kind: "sealed" }]);
    expect(work.runs).toEqual([]);
  },
);

test("a body that says a wider class than the ticket does not widen it", async () => {
  const { first, key } = await kit.run(kit.ticket(), { prompt: "x", stream: true, security_level: "P2" });
  expect(open(key, first)).toMatchObject({ type: "accepted", security_level: "P0" });
});

test("a cloud node does not even listen for sealed P0 and P1", async () => {
  const cloud = await sealingParts({ layer: "L2" });
  const token = cloud.signer.sign(cloud.ticket());
  cloud.send(token, await cloud.seal(token, { prompt: "x", stream: true }));
  const p2 = await cloud.run(cloud.ticket({ class: "P2" }), { prompt: "x", stream: true }, { dataClass: "P2" });
  expect(open(p2.key, p2.first)).toMatchObject({ type: "accepted", security_level: "P2" });
  expect(cloud.work.runs).toHaveLength(1);
});

test("what was sealed to another key, node or ticket, is cut short, changed or no job, is refused without a word of it", async () => {
  const { announced, bus, rejected, seal, send, signer, ticket, work } = kit;
  const tokenOf = () => signer.sign(ticket());
  const flip = (data: Uint8Array) => data.map((byte, i) => (i === 3 ? byte ^ 1 : byte));
  const job = { prompt: "a secret", stream: true };
  const cases: [string, string, { sealed: Uint8Array; enc: string }][] = [];
  const add = async (code: string, make: (token: string) => Promise<{ sealed: Uint8Array; enc: string }>) => {
    const token = tokenOf();
    cases.push([code, token, await make(token)]);
  };
  await add("bad_request", (token) => seal(token, job, "n2"));
  await add("bad_request", () => seal(tokenOf(), job));
  await add("bad_request", async (token) => {
    const other = new NodeKeys(1000);
    await other.rotate();
    const to = { cell: CELL, node: "n1", kid: announced.kid, publicKey: other.announced[0]?.public_key ?? "" };
    return sealJob(paddedJson(job), to, token, JOB);
  });
  await add("bad_request", async (token) => ({ ...(await seal(token, job)), enc: "A".repeat(43) }));
  await add("bad_request", async (token) => ({ ...(await seal(token, job)), enc: "" }));
  await add("bad_request", async (token) => {
    const { sealed, enc } = await seal(token, job);
    return { sealed: flip(sealed), enc };
  });
  await add("bad_request", async (token) => {
    const { sealed, enc } = await seal(token, job);
    return { sealed: sealed.subarray(0, -1), enc };
  });
  await add("bad_request", async (token) => ({ ...(await seal(token, job)), sealed: new Uint8Array() }));
  await add("payload_too_large", async (token) => ({
    ...(await seal(token, job)),
    sealed: new Uint8Array(8 * 1024 * 1024 + 1),
  }));
  await add("bad_request", (token) => seal(token, new TextEncoder().encode("a secret, but no JSON")));
  await add("bad_request", (token) => seal(token, { stream: true }));
  await add("bad_request", (token) => seal(token, { prompt: 7 }));
  await add("forbidden", (token) => seal(token, { ...job, job_id: "job-00000002" }));
  for (const [i, [code, token, made]] of cases.entries()) {
    send(token, made);
    const text = new TextDecoder().decode((await bus.next(INBOX, i)).data);
    expect(JSON.parse(text)).toMatchObject({ status: "refused", error: { code } });
    expect(text).not.toContain("secret");
  }
  expect(rejected.map(({ error }) => error.code)).toEqual(cases.map(([code]) => code));
  expect(rejected.map(({ error }) => error.message).join()).not.toContain("secret");
  expect(work.runs).toEqual([]);
  // The tickets were good: their router hears that the jobs were refused.
  expect(kit.verdicts()).toHaveLength(cases.length);
});

test("a header that names another job is refused; without an inbox nothing is said at all", async () => {
  const { bus, refusal, rejected, run: _, send, seal, signer, ticket } = kit;
  expect((await refusal(ticket(), undefined, { headers: { [HEADERS.job]: "job-00000002" } })).error?.code).toBe(
    "forbidden",
  );
  const before = bus.on("").length;
  const token = signer.sign(ticket());
  for (const reply of ["", "mesh.main.job.submit.chat", "_INBOX.>"])
    send(token, await seal(token, { prompt: "x" }), { reply });
  expect(rejected.slice(1).map(({ error }) => error.field)).toEqual(["reply", "reply", "reply"]);
  expect(bus.on("")).toHaveLength(before);
});

test("a full node and one that drains refuse as usual, in clear, and their router hears it", async () => {
  const { refusal, rejected, stance, ticket, verdicts } = kit;
  stance.closedBecause = "the node is draining";
  expect((await refusal(ticket())).error).toMatchObject({ code: "draining", retryable: true });
  stance.closedBecause = undefined;
  expect((await refusal(ticket({ model: "gone" }))).error).toMatchObject({ code: "no_node" });
  expect(await refusal(ticket({ deadline_unix_ms: Date.now() - 1 }))).toMatchObject({
    status: "expired",
    error: { code: "deadline_exceeded" },
  });
  expect(verdicts()).toHaveLength(3);
  expect(rejected).toEqual([]);
});

test("a ticket that is here before its router's key waits for it; a replaced key still opens what was sealed to it", async () => {
  const { announce, keys, seal, send, bus, ticket } = kit;
  const newcomer = new TicketSigner();
  const token = newcomer.sign(ticket({ router: "router-2-t", signer: newcomer.kid }));
  const made = await seal(token, { prompt: "x", stream: true });
  send(token, made);
  await keys.rotate();
  announce(newcomer, "router-2-t");
  expect(open(made.answer, await bus.next(INBOX))).toMatchObject({ type: "accepted" });
});

test("announcements of keys that lie or are none are rejected", () => {
  const { bus, rejected, signer } = kit;
  const key = { router: "router-3", kid: "k", public_key: signer.publicKey };
  for (const body of [
    { ...key, router: "router-4" },
    { ...key, public_key: "short" },
    { ...key, kid: undefined },
    "garbage",
  ])
    bus.deliver("mesh.main.router.key.router-3", body);
  expect(rejected.map(({ kind }) => kind)).toEqual(Array(4).fill("router_key"));
});
