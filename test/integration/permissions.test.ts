import { afterAll, beforeAll, expect, test } from "vitest";
import { permissionsOf } from "../../bus-schemas/index.ts";
import { EXPECTED, patterns } from "../kit/role-expectations.ts";
import { HOLDERS, HOLDER_NAMES, startRoleBus, type HolderName, type RoleBus } from "../kit/role-bus.ts";
import { SUBJECTS, curious } from "../kit/role-probes.ts";
import type { RawNats } from "../kit/raw-nats.ts";
import { covers, matches } from "../kit/subject-pattern.ts";

let bus: RoleBus;
let witness: RawNats;
let subjects: string[];

beforeAll(async () => {
  bus = await startRoleBus();
  witness = await bus.witness();
  witness.subscribe(">");
  // Each holder's own inbox, and with it everybody else's.
  subjects = [...SUBJECTS, ...HOLDER_NAMES.map((name) => `${bus.inboxOf(name)}.answers.1`)];
});
afterAll(async () => {
  await witness[Symbol.asyncDispose]();
  await bus[Symbol.asyncDispose]();
});

const expected = (name: HolderName) => {
  const { says, hears, neverHears = "" } = EXPECTED[name];
  const [said, heard, never] = [says, hears, neverHears].map((line) => patterns(line, bus.inboxOf(name)));
  return { says: said ?? [], hears: heard ?? [], never: never ?? [] };
};
const isOneOf = (list: readonly string[]) => (subject: string) => list.some((pattern) => matches(pattern, subject));
const mayHear = (name: HolderName) => {
  const { hears, never } = expected(name);
  return (subject: string) => isOneOf(hears)(subject) && !isOneOf(never)(subject);
};

/** What the server refused, out of its `-ERR 'Permissions Violation for Publish to "…"'`. */
function refused(client: RawNats, what: "Publish" | "Subscription"): Set<string> {
  const errors = client.errors.flatMap((line) => /Permissions Violation for (\w+) to "([^"]*)"/.exec(line) ?? []);
  return new Set(errors.filter((_, i) => errors[i - 1] === what && i % 3 === 2));
}

/** Of these publications, the subjects that reached somebody. */
async function published(name: HolderName, list: readonly string[]): Promise<{ through: string[]; refused: string[] }> {
  await using client = await bus.connect(name);
  const body = `by ${name} ${Math.random()}`;
  for (const subject of list) client.publish(subject, body);
  await client.flush();
  await witness.flush();
  const through = witness.messages.filter((message) => message.body === body).map(({ subject }) => subject);
  return { through, refused: [...refused(client, "Publish")] };
}

test.each(HOLDER_NAMES)("%s: the template grants what the table written by hand says, no more and no less", (name) => {
  const { role, ...who } = HOLDERS[name];
  const { publish, subscribe } = permissionsOf(role, { ...who, inbox: bus.inboxOf(name) });
  const granted = (list: typeof publish) => [...new Set(list.map(({ subject }) => subject))].toSorted();
  const { says, hears } = expected(name);
  expect(granted(publish)).toEqual([...new Set(says)].toSorted());
  expect(granted(subscribe)).toEqual([...new Set(hears)].toSorted());
});

test.each(HOLDER_NAMES)("%s: the broker lets through what it may say, and tells it of the rest", async (name) => {
  const maySay = isOneOf(expected(name).says);
  const { through, refused: no } = await published(name, subjects);
  expect(through.toSorted()).toEqual(subjects.filter(maySay).toSorted());
  expect(no.toSorted()).toEqual(subjects.filter((subject) => !maySay(subject)).toSorted());
});

test.each(HOLDER_NAMES)("%s: nothing reaches it that it may not hear, however it subscribes", async (name) => {
  const { hears, never } = expected(name);
  const may = mayHear(name);
  const hearable = subjects.filter(may);
  const few = subjects.filter((subject) => !/\.event\.(?!job_ended\.P2\.)/.test(subject));
  const probes = [...new Set([...curious(few), ...hears])];
  for (const queue of ["", "workers"]) {
    await using client = await bus.connect(name);
    // Each in a group of its own: a group of one name gets each message once, whatever its members subscribed to.
    const group = (i: number) => (queue === "" ? "" : `${queue}-${i}`);
    const sids = new Map(probes.map((probe, i) => [client.subscribe(probe, group(i)), probe]));
    await client.flush();
    const body = `for ${name} ${Math.random()}`;
    for (const subject of subjects) witness.publish(subject, body);
    await witness.flush();
    await client.flush();
    const heard = new Map(probes.map((probe) => [probe, [] as string[]]));
    for (const message of client.messages)
      if (message.body === body) heard.get(sids.get(message.sid) ?? "")?.push(message.subject);
    const no = refused(client, "Subscription");
    const wrong = probes.flatMap((probe) => {
      const got = heard.get(probe) ?? [];
      const tooMuch = got.filter((subject) => !may(subject));
      // A subscription is taken whole or not at all; of one that is taken, what is denied beside it is left out.
      const within = hears.some((pattern) => covers(pattern, probe)) && !never.some((deny) => covers(deny, probe));
      const missing = within ? hearable.filter((subject) => matches(probe, subject) && !got.includes(subject)) : [];
      // nats-server 2.15.2 takes `a.>` where `a.*` is permitted, and then delivers what the denies beside it leave.
      const taken = hears.some((pattern) => covers(pattern, probe.replace(/>$/, "*")));
      const untold = !taken && !no.has(probe);
      return tooMuch.length + missing.length === 0 && !untold ? [] : [{ probe, tooMuch, missing, untold }];
    });
    expect(wrong).toEqual([]);
  }
});

test.each(HOLDER_NAMES)("%s: having heard a message gives no right to speak where its sender says", async (name) => {
  const { hears, says } = expected(name);
  const victims = subjects.filter((subject) => !isOneOf(says)(subject));
  await using client = await bus.connect(name);
  for (const pattern of hears) client.subscribe(pattern);
  await client.flush();
  const heard = subjects.find(mayHear(name)) ?? "";
  for (const victim of victims) witness.publish(heard, "asked", victim);
  await witness.flush();
  await client.flush();
  const body = `answered by ${name}`;
  for (const victim of victims) client.publish(victim, body);
  await client.flush();
  await witness.flush();
  expect(witness.messages.filter((message) => message.body === body).map(({ subject }) => subject)).toEqual([]);
});
