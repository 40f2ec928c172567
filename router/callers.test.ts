import { expect, test } from "vitest";
import { EVENTS, lastToken } from "../bus-schemas/index.ts";
import { nodeRecord, routerParts } from "../test/kit/router-parts.ts";
import { Dispatcher } from "./dispatcher.ts";
import { Router } from "./router.ts";
import { Tickets } from "./tickets.ts";

const INBOX = "_INBOX.caller.1";
const SUBMIT = "mesh.main.job.submit.chat";
const ROUTE = "mesh.main.job.route";
const RUN = "mesh.main.job.run";
const job = { job_id: "job-00001", security_level: "P2", prompt: "hello" };

function startRouter() {
  const kit = routerParts({});
  const dispatcher = new Dispatcher(kit.parts);
  const tickets = new Tickets(kit.parts, dispatcher);
  dispatcher.start();
  tickets.start();
  new Router(kit.parts, dispatcher, tickets).start();
  const say = (subject: string, body: unknown) => kit.bus.deliver(subject, body, { reply: INBOX });
  return { ...kit, tickets, say };
}

test("for whom a job is goes with it to every decision and ending that this router records, and to its node as it came", async () => {
  const { bus, events, fleet, join, say } = startRouter();
  join(nodeRecord("n1"), nodeRecord("n2"));
  const caller = { id: "crm", kind: "service", on_behalf_of: [{ id: "alice" }] };
  const behalf = [{ id: "alice", kind: "user" }];
  const recorded = { ...caller, on_behalf_of: behalf, declared_by: "client", pseudonyms: false };
  say(SUBMIT, { ...job, caller });
  const first = await bus.next(RUN);
  expect(first.json()).toMatchObject({ caller });
  const refused = { type: "refused", job_id: "job-00001", node_id: lastToken(first.subject), load: {} };
  bus.deliver(first.reply ?? "", { ...refused, error: { code: "all_busy", message: "full", retryable: true } });
  expect((await bus.next(RUN, 1)).json()).toMatchObject({ caller });
  for (const node of ["n1", "n2"]) fleet.fleet.remove(node);
  say(SUBMIT, { ...job, job_id: "job-00002", caller });
  await bus.next(INBOX);
  expect(events.of("job_decided")).toMatchObject([{ caller: recorded }, { caller: recorded }]);
  expect(events.of("job_ended")).toMatchObject([{ job_id: "job-00002", status: "refused", caller: recorded }]);
});

test("for whom a sealed job is is on record with its decision, and with the refusal of a ticket", async () => {
  const { bus, events, join, say } = startRouter();
  const query = { ticket: true, security_level: "P0", prompt_tokens: 100 };
  say(ROUTE, { ...query, job_id: "job-00001", caller: { id: "alice" } });
  await bus.next(INBOX);
  expect(events.of("job_ended")).toMatchObject([{ status: "refused", caller: { id: "alice" } }]);
  join(nodeRecord("n1"));
  say(ROUTE, { ...query, job_id: "job-00002", caller: { id: "bob", kind: "agent" } });
  await bus.next(INBOX, 1);
  const caller = { id: "bob", kind: "agent" };
  expect(events.of("job_decided").at(-1)).toMatchObject({ job_id: "job-00002", caller });
});

test.each([
  [{ id: "" }, "caller.id"],
  [{ id: "a", on_behalf_of: "b" }, "caller.on_behalf_of"],
  ["alice", "caller"],
])("a caller that is none is refused by its field: %j", async (caller, field) => {
  const { bus, join, say } = startRouter();
  join(nodeRecord("n1"));
  say(SUBMIT, { ...job, caller });
  expect((await bus.next(INBOX)).json()).toMatchObject({ status: "refused", error: { code: "bad_request", field } });
  expect(bus.on(RUN)).toEqual([]);
});

test("a router that starts has a new key for tickets, and says so in the record", () => {
  const { events, tickets } = startRouter();
  const [recorded] = events.of("key_changed");
  const whose = { role: "router_signing", router_id: tickets.id, node_id: null, previous_key_id: null };
  expect(EVENTS.key_changed.data.parse(recorded)).toMatchObject(whose);
});
