import { afterEach, expect, test, vi } from "vitest";
import { JobResult, MeshError, TicketReply, type NodeRecordInput, type Ticket } from "../bus-schemas/index.ts";
import { readTicket, ticketVerifier } from "../service/sealing/index.ts";
import { nodeRecord, routerParts } from "../test/kit/router-parts.ts";
import { Dispatcher } from "./dispatcher.ts";
import { Router } from "./router.ts";
import { Tickets } from "./tickets.ts";

const INBOX = "_INBOX.caller.1";
const ROUTE = "mesh.main.job.route";
const KEY = "mesh.main.router.key.";
const LOAD = { slots: 2, running: 1, queued: 0, queue_limit: 2, pending_prefill_tokens: 0 };

afterEach(() => void vi.useRealTimers());

function startRouter(policy: Record<string, unknown> = {}) {
  const kit = routerParts(policy);
  const dispatcher = new Dispatcher(kit.parts);
  const tickets = new Tickets(kit.parts, dispatcher);
  dispatcher.start();
  tickets.start();
  new Router(kit.parts, dispatcher, tickets).start();
  const { bus, fleet } = kit;
  const ask = (query: Record<string, unknown> = {}, headers: Record<string, string> = {}) =>
    bus.deliver(
      ROUTE,
      { ticket: true, job_id: "job-00000001", security_level: "P0", prompt_tokens: 100, ...query },
      { reply: INBOX, headers },
    );
  const replies = () => bus.on(INBOX).map((answer) => answer.json());
  const ticketAt = async (index = 0): Promise<Ticket> => {
    const reply = TicketReply.parse((await bus.next(INBOX, index)).json());
    return readTicket(reply.ticket ?? "");
  };
  const verdict = (ticket: Ticket, type: string, rest: Record<string, unknown> = {}) =>
    bus.deliver(`mesh.main.job.verdict.${ticket.router}.${ticket.node}.${ticket.id}`, {
      type,
      job_id: ticket.job,
      node_id: ticket.node,
      load: LOAD,
      ...rest,
    });
  const inFlightAt = (nodeId: string) => fleet.fleet.view(nodeId)?.ownInFlight;
  return { ...kit, dispatcher, tickets, ask, replies, ticketAt, verdict, inFlightAt };
}

test("a ticket names node, boot, key, class, model and times; its router's announced key verifies it and no other", async () => {
  const { bus, ask, events, join, ticketAt, tickets, inFlightAt } = startRouter();
  join(nodeRecord("n1"));
  const before = Date.now();
  ask({ timeout_ms: 5000 }, { traceparent: "00-1-1-01" });
  const reply = TicketReply.parse((await bus.next(INBOX)).json());
  const ticket = await ticketAt();
  const [key] = nodeRecord("n1").seal_keys;
  expect(reply).toEqual({ sealed: true, security_level: "P0", ticket: expect.any(String), attempts_left: 2 });
  expect(ticket).toMatchObject({
    router: tickets.id,
    job: "job-00000001",
    class: "P0",
    node: "n1",
    layer: "L1",
    boot_id: "boot-1",
    model: "llama3.1-8b",
    kid: key?.kid,
    public_key: key?.public_key,
    attempt: 1,
  });
  expect(ticket.expires_unix_ms - ticket.issued_unix_ms).toBe(30_000);
  expect(ticket.deadline_unix_ms - before).toBeGreaterThanOrEqual(5000);
  expect(ticket.deadline_unix_ms - before).toBeLessThan(7000);
  const announced = bus.on(KEY).map((sent) => sent.json());
  expect(announced).toEqual([{ router: tickets.id, kid: ticket.signer, public_key: expect.any(String) }]);
  const verify = ticketVerifier(announced[0] as never);
  const token = reply.ticket ?? "";
  expect(verify(token)).toBe(true);
  const forged = Buffer.from(JSON.stringify({ ...ticket, class: "P2" })).toString("base64url");
  expect(verify(`${forged}.${token.split(".")[1]}`)).toBe(false);
  expect(verify(token.split(".")[0] ?? "")).toBe(false);
  expect(events.of("job_decided")).toMatchObject([
    { job_id: "job-00000001", attempt: 1, decision: { sealed: true, node_id: "n1" } },
  ]);
  expect(inFlightAt("n1")).toBe(1);
});

test("the ticket of a P0 job waits until its decision is durable; without that there is none", async () => {
  vi.useFakeTimers();
  const { ask, bus, events, join, replies } = startRouter();
  join(nodeRecord("n1"));
  const durable = Promise.withResolvers<void>();
  events.stall = durable.promise;
  ask();
  await vi.advanceTimersByTimeAsync(1000);
  expect(replies()).toEqual([]);
  durable.resolve();
  await vi.advanceTimersByTimeAsync(0);
  expect(replies()).toHaveLength(1);

  events.stall = new Promise(() => undefined);
  ask({ job_id: "job-00000002" });
  await vi.advanceTimersByTimeAsync(1600);
  const refused = JobResult.parse((await bus.next(INBOX, 1)).json());
  expect(refused).toMatchObject({ status: "refused", error: { code: "audit_unavailable" } });
});

test.each<[string, Partial<NodeRecordInput>]>([
  ["restarts", { boot_id: "boot-2", seq: 1 }],
  ["has no key any more", { seal_keys: [], seq: 1 }],
])("a node that %s when its decision is recorded gets no ticket", async (_, change) => {
  const { ask, bus, events, join, inFlightAt, tickets } = startRouter();
  join(nodeRecord("n1"));
  const durable = Promise.withResolvers<void>();
  events.stall = durable.promise;
  ask();
  // The ticket is signed by now.
  await new Promise(setImmediate);
  join(nodeRecord("n1", change));
  durable.resolve();
  const ending = JobResult.parse((await bus.next(INBOX)).json());
  expect(ending).toMatchObject({
    status: "refused",
    error: { code: "no_node", message: expect.stringMatching(/went away/) },
  });
  expect([tickets.inFlight.tickets, inFlightAt("n1") ?? 0]).toEqual([0, 0]);
});

test("a verdict on a sealed job comes once, and one of another router's still tells its node's load", async () => {
  const { ask, bus, fleet, join, ticketAt, verdict } = startRouter();
  join(nodeRecord("n1"), nodeRecord("n2"));
  const heard = vi.spyOn(fleet, "onLoad");
  ask();
  verdict(await ticketAt(), "accepted");
  expect(heard).toHaveBeenCalledTimes(1);
  const other = { type: "accepted", job_id: "job-00000009", node_id: "n2", load: LOAD };
  bus.deliver("mesh.main.job.verdict.another-t.0", other);
  expect(heard).toHaveBeenLastCalledWith("n2", LOAD);
});

test("a job that is cancelled while its decision is recorded gets no ticket", async () => {
  const { ask, bus, events, join } = startRouter();
  join(nodeRecord("n1"));
  const durable = Promise.withResolvers<void>();
  events.stall = durable.promise;
  ask();
  bus.deliver("mesh.main.job.cancel.job-00000001", undefined);
  durable.resolve();
  expect(JobResult.parse((await bus.next(INBOX)).json())).toMatchObject({ status: "cancelled" });
});

test("a class that needs no sealing gets its decision without a ticket, and nothing is recorded", async () => {
  const { ask, bus, events, join, inFlightAt } = startRouter();
  join(nodeRecord("n1"));
  for (const level of ["P1", "P2"]) {
    const before = bus.on(INBOX).length;
    ask({ security_level: level });
    const reply = TicketReply.parse((await bus.next(INBOX, before)).json());
    expect(reply).toMatchObject({ sealed: false, ticket: null, security_level: level });
  }
  expect(events.of("job_decided")).toEqual([]);
  expect(inFlightAt("n1")).toBe(0);
});

test("the strictest of header and body is the ticket's class, and a misspelt one is P0", async () => {
  const { ask, join, ticketAt } = startRouter();
  join(nodeRecord("n1"));
  for (const [i, [header, body]] of [
    ["P0", "P2"],
    ["P2", "P0"],
    ["p2", "P2"],
  ].entries()) {
    ask({ job_id: `job-0000000${i}`, security_level: body }, { "Mesh-Class": header ?? "" });
    expect((await ticketAt(i)).class).toBe("P0");
  }
});

test("a refusal is the job's ending: told, and recorded once", async () => {
  const { ask, bus, events, join } = startRouter();
  join(nodeRecord("n1", { seal_keys: [] }), nodeRecord("cloud", { layer: "L2" }));
  ask();
  const ending = JobResult.parse((await bus.next(INBOX)).json());
  expect(ending).toMatchObject({ status: "refused", security_level: "P0", error: { code: "no_node" } });
  expect(ending.error?.message).toMatch(/encryption 1/);
  expect(events.of("job_ended")).toMatchObject([{ job_id: "job-00000001", status: "refused" }]);
});

test("nodes that refused are excluded from the next ticket, and the attempts run out", async () => {
  const { ask, bus, events, join, ticketAt, verdict } = startRouter();
  join(...["a", "b", "c", "d"].map((id) => nodeRecord(id)));
  const tried: string[] = [];
  for (let attempt = 1; attempt <= 3; attempt++) {
    ask({ attempt, exclude_nodes: [...tried] });
    const ticket = await ticketAt(attempt - 1);
    expect(ticket.attempt).toBe(attempt);
    tried.push(ticket.node);
    verdict(ticket, "refused", { error: new MeshError("all_busy", "full").toWire() });
  }
  expect(new Set(tried).size).toBe(3);
  const left = bus.on(INBOX).map((answer) => answer.json()["attempts_left"]);
  expect(left.slice(0, 3)).toEqual([2, 1, 0]);
  expect(events.of("job_decided").map(({ attempt }) => attempt)).toEqual([1, 2, 3]);
  // The last refusal is final, so its ending is recorded here.
  expect(events.of("job_ended")).toMatchObject([{ status: "refused", error: { code: "all_busy" } }]);
});

test("a refusal that no other node would take back ends the job on record at once", async () => {
  const { ask, events, join, replies, ticketAt, verdict } = startRouter();
  join(nodeRecord("a"), nodeRecord("b"));
  ask();
  const error = new MeshError("deadline_exceeded", "the deadline has passed").toWire();
  verdict(await ticketAt(), "refused", { error });
  expect(events.of("job_ended")).toMatchObject([{ status: "expired", error: { code: "deadline_exceeded" } }]);
  // The node has told its caller.
  expect(replies()).toHaveLength(1);
});

test("an accepted and ended job frees its place; only the ticket's node has a word in it", async () => {
  const { ask, events, join, ticketAt, verdict, tickets, inFlightAt, rejected } = startRouter();
  join(nodeRecord("n1"));
  ask();
  const ticket = await ticketAt();
  verdict({ ...ticket, node: "n2" }, "ended", { status: "failed", timing: null });
  expect(rejected.at(-1)).toMatchObject({ kind: "verdict", error: { code: "forbidden", field: "node_id" } });
  verdict(ticket, "accepted");
  expect(tickets.inFlight).toEqual({ tickets: 0, sealed: 1 });
  verdict(ticket, "refused", { error: new MeshError("all_busy", "late").toWire() });
  expect(tickets.inFlight.sealed).toBe(1);
  verdict(ticket, "ended", { status: "finished", timing: { queued_ms: 0, ttft_ms: 5, total_ms: 10 } });
  expect([tickets.inFlight, inFlightAt("n1")]).toEqual([{ tickets: 0, sealed: 0 }, 0]);
  expect(events.of("job_ended")).toEqual([]);
});

/** A sealed job that its node has accepted and is lost with. */
async function lostSealed(headers: Record<string, string>) {
  const kit = startRouter();
  kit.join(nodeRecord("n1"));
  kit.ask({}, headers);
  kit.verdict(await kit.ticketAt(), "accepted");
  kit.fleet.onDisconnected("n1", Date.now());
  await kit.bus.next(INBOX, 1);
  return { said: kit.replies().slice(1), events: kit.events };
}

test("a node that is lost with a sealed job: its caller is told, and asks for the next ticket", async () => {
  const { said, events } = await lostSealed({ "Mesh-Resume": "1" });
  expect(said).toEqual([{ type: "lost", job_id: "job-00000001", node_id: "n1", attempts_left: 2 }]);
  expect(events.of("job_ended")).toEqual([]);
  expect(events.of("job_redispatched")).toMatchObject([{ from_node_id: "n1", to_node_id: null }]);
});

test("a sealed job of a caller that does not go on ends once with its node, to the caller and on record", async () => {
  const { said, events } = await lostSealed({});
  expect(said).toMatchObject([{ status: "failed", node_id: "n1", error: { code: "node_lost" } }]);
  expect(events.of("job_ended")).toMatchObject([{ status: "failed", error: { code: "node_lost" } }]);
});

test("a ticket that is not used, given up or asked for again does not keep its place", async () => {
  vi.useFakeTimers();
  const { ask, bus, join, tickets, inFlightAt, ticketAt } = startRouter();
  join(nodeRecord("n1"));
  ask();
  await ticketAt();
  ask();
  await vi.advanceTimersByTimeAsync(0);
  expect(inFlightAt("n1")).toBe(1);
  bus.deliver("mesh.main.job.cancel.job-00000001", undefined);
  expect(inFlightAt("n1")).toBe(0);
  ask();
  await vi.advanceTimersByTimeAsync(29_000);
  tickets.sweep();
  expect(inFlightAt("n1")).toBe(1);
  await vi.advanceTimersByTimeAsync(1001);
  tickets.sweep();
  expect([tickets.inFlight.tickets, inFlightAt("n1")]).toEqual([0, 0]);
});

test("a plain P0 job is told encryption_required and how to do it, and never leaves the router", async () => {
  const { bus, join } = startRouter();
  join(nodeRecord("n1"));
  bus.deliver("mesh.main.job.submit.chat", { prompt: "x", security_level: "P0" }, { reply: INBOX });
  const { error } = JobResult.parse((await bus.next(INBOX)).json());
  expect(error?.code).toBe("encryption_required");
  expect(error?.message).toMatch(/MeshClient.*gateway.*tiermesh submit.*docs\/security\.md/);
  expect(bus.on("mesh.main.job.run")).toEqual([]);
});

test.each([
  ["exclude_nodes", { exclude_nodes: ["a b"] }],
  ["exclude_nodes", { exclude_nodes: Array.from({ length: 65 }, (_, i) => `n${i}`) }],
  ["prompt_tokens", { prompt_tokens: -1 }],
  ["attempt", { attempt: 0 }],
  ["ticket", { ticket: "yes" }],
])("a malformed request for a ticket is answered naming %s", (field, query) => {
  const { ask, replies } = startRouter();
  ask(query);
  const [{ error } = {}] = replies() as { error?: { code: string; field: string } }[];
  expect(error?.code).toBe("bad_request");
  expect(error?.field).toContain(field);
});
