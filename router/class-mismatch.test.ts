import { beforeEach, expect, test } from "vitest";
import {
  EVENTS,
  JobResult,
  MeshError,
  isDataClass,
  TicketReply,
  type DataClass,
  type DeclaredAs,
} from "../bus-schemas/index.ts";
import { nodeRecord, routerParts } from "../test/kit/router-parts.ts";
import { Dispatcher } from "./dispatcher.ts";
import { Router } from "./router.ts";
import { Tickets } from "./tickets.ts";

const INBOX = "_INBOX.caller.1";
const JOB = "job-00000001";

let kit: ReturnType<typeof routerParts>;
beforeEach(() => {
  kit = routerParts({ default_level: "P2" });
  const dispatcher = new Dispatcher(kit.parts);
  const tickets = new Tickets(kit.parts, dispatcher);
  dispatcher.start();
  tickets.start();
  new Router(kit.parts, dispatcher, tickets).start();
  kit.join(nodeRecord("n1"));
});

/** Sends a job that declares its class here and there, and waits until the router has spoken. */
async function send(header: string | undefined, body: string | undefined, ticket: boolean): Promise<void> {
  const job = { job_id: JOB, ...(body === undefined ? {} : { security_level: body }) };
  const headers: Record<string, string> =
    header === undefined ? {} : { "Mesh-Class": header, traceparent: "00-1-1-01" };
  const said = kit.bus.sent.length;
  if (ticket) kit.bus.deliver("mesh.main.job.route", { ...job, ticket }, { reply: INBOX, headers });
  else kit.bus.deliver("mesh.main.job.submit.chat", { ...job, prompt: "hello" }, { reply: INBOX, headers });
  while (kit.bus.sent.length === said) await new Promise(setImmediate);
}

const MISMATCHES: [string | undefined, string | undefined, DeclaredAs, DeclaredAs, DataClass][] = [
  ["P2", "P0", "P2", "P0", "P0"],
  ["P1", "P2", "P1", "P2", "P1"],
  [undefined, "p0", null, "unreadable", "P0"],
  ["P1 or so", undefined, "unreadable", null, "P1"],
  ["P2", "top secret project", "P2", "unreadable", "P2"],
  ["\uff30\uff10", "P2", "unreadable", "P2", "P0"],
];

for (const ticket of [false, true]) {
  // What needs no ticket is told of when it is submitted.
  test.each(MISMATCHES.filter(([, , , , dataClass]) => !ticket || dataClass === "P0"))(
    `${ticket ? "a ticket for" : "a job that is"} %j in the header and %j in the body is told of, without its words`,
    async (header, body, inHeader, inBody, dataClass) => {
      await send(header, body, ticket);
      expect(kit.events.of("class_mismatch")).toEqual([
        { job_id: JOB, header: inHeader, body: inBody, security_level: dataClass },
      ]);
      const [event] = kit.events.seen.filter(({ type }) => type === "class_mismatch");
      expect(event?.dataClass).toBe(dataClass);
      expect(EVENTS.class_mismatch.data.parse(event?.data)).toEqual(event?.data);
      const recorded = JSON.stringify(kit.events.seen);
      const words = [header, body].filter((said) => said !== undefined && !isDataClass(said));
      expect(words.filter((said) => said !== undefined && recorded.includes(said))).toEqual([]);
    },
  );

  test.each([
    [undefined, undefined],
    ["P2", undefined],
    [undefined, "P1"],
    ["P0", "P0"],
    ["P2", ""],
  ])(
    `${ticket ? "a ticket for" : "a job that is"} %j in the header and %j in the body is nothing to tell`,
    async (header, body) => {
      await send(header, body, ticket);
      expect(kit.events.of("class_mismatch")).toEqual([]);
    },
  );
}

test("a decision only, which runs nothing, is not told of", async () => {
  kit.bus.deliver("mesh.main.job.route", { security_level: "p0" }, { reply: INBOX });
  expect((await kit.bus.next(INBOX)).json()).toMatchObject({ security_level: "P0" });
  expect(kit.events.seen.filter(({ type }) => !["node_joined", "key_changed"].includes(type))).toEqual([]);
});

test("while it cannot be told of, the job is refused", async () => {
  kit.events.failure = new MeshError("audit_unavailable", "full");
  await send("P2", "p1", false);
  expect(JobResult.parse(kit.bus.on(INBOX)[0]?.json())).toMatchObject({
    status: "refused",
    security_level: "P1",
    error: { code: "audit_unavailable" },
  });
  await send("P2", "p0", true);
  expect(TicketReply.safeParse(kit.bus.on(INBOX)[1]?.json()).success).toBe(false);
  expect(kit.bus.on("mesh.main.job.run")).toEqual([]);
});
