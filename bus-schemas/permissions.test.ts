import { expect, test } from "vitest";
import { TOOL_INBOX, ownInbox } from "./permissions-parts.ts";
import { ROLES, permissionsOf, type Role } from "./permissions.ts";

const KEY = `U${"ABCDEFGHIJKLMNOP".repeat(4).slice(0, 55)}`;
const INBOX = ownInbox(KEY);
const ALL = Object.keys(ROLES) as Role[];
const of = (role: Role, more: object = {}) =>
  permissionsOf(role, { inbox: INBOX, node: "gpu-1", layer: role === "egress" ? "L2" : "L1", ...more });
const names = (list: readonly { subject: string }[]) => list.map(({ subject }) => subject);

test("an inbox is derived from the public key alone, below where no tool makes its own", () => {
  expect(INBOX).toBe("_INBOX.own.ABCDEFGHIJKLMNOP");
  expect(ownInbox(KEY)).toBe(INBOX);
});

test("an agent and a join token are of a node, or there are no permissions at all", () => {
  for (const role of ["agent", "egress"] as const) {
    expect(() => of(role, { node: undefined })).toThrow(RangeError);
    expect(() => of(role, { layer: undefined })).toThrow(RangeError);
  }
  expect(() => of("join", { node: undefined })).toThrow(RangeError);
});

test.each(["a.b", "*", ">", "", "a b", 'a"]', "ä"])("%j is no cell, and nothing is permitted in it", (cell) => {
  for (const role of ALL) expect(() => of(role, { cell })).toThrow(RangeError);
});

test.each(["a.b", "*", ">", "", "a b", "ä"])("%j is no node, and nothing is permitted to it", (node) => {
  for (const role of ["agent", "egress", "join"] as const) expect(() => of(role, { node })).toThrow(RangeError);
});

test("another cell's users have nothing of this one, beside inboxes and discovery", () => {
  for (const role of ALL) {
    const { publish, subscribe } = of(role, { cell: "lab" });
    const shared = /^(_INBOX\.|\$SRV\.|\$JS\.API\.INFO$|\$JS\.EVENT\.ADVISORY\.API$)/;
    for (const subject of names([...publish, ...subscribe]).filter((each) => !shared.test(each)))
      expect(subject).toMatch(/^mesh\.lab\.|tiermesh-\w+-lab|(AUDIT|RELEASES|JOBS|JOB_[A-Z]+)_lab/);
  }
});

test("nobody may hear everything, and nobody but agents may hear jobs on their way to a node", () => {
  const heard = ALL.flatMap((role) => names(of(role).subscribe).map((subject) => ({ role, subject })));
  for (const { subject } of heard) expect(subject).not.toMatch(/^(>|\*|mesh\.(>|\*|main\.(>|\*)))/);
  const hearsJobs = heard.filter(({ subject }) => /\.job\.(run|sealed)\./.test(subject));
  expect([...new Set(hearsJobs.map(({ role }) => role))]).toEqual(["agent", "egress"]);
});

test("an egress node hears P2 only, and P0 and P1 are denied beside that", () => {
  const { publish, subscribe, denySubscribe } = of("egress");
  expect(names(subscribe).filter((subject) => /\.job\.(run|sealed)\./.test(subject))).toEqual([
    "mesh.main.job.run.P2.gpu-1",
    "mesh.main.job.sealed.P2.gpu-1",
  ]);
  for (const dataClass of ["P0", "P1"])
    for (const way of ["run", "sealed"]) expect(names(denySubscribe)).toContain(`mesh.main.job.${way}.${dataClass}.>`);
  expect(names(publish).filter((subject) => subject.includes("job_ended"))).toEqual([
    "mesh.main.event.job_ended.P2.agent.gpu-1",
  ]);
});

test("beside each subscription that ends in * what is deeper is denied, because nats-server 2.15.2 delivers it", () => {
  for (const role of ALL) {
    const { subscribe, denySubscribe } = of(role);
    for (const subject of names(subscribe).filter((each) => each.endsWith("*")))
      expect(names(denySubscribe)).toContain(`${subject}.>`);
  }
});

test("a tool that makes its inboxes where all do hears nobody's own ones", () => {
  expect(names(of("operator", { inbox: TOOL_INBOX }).denySubscribe)).toContain("_INBOX.own.>");
  expect(names(of("operator").denySubscribe)).not.toContain("_INBOX.own.>");
});

test("each grant says what it is for", () => {
  for (const role of ALL) {
    const { publish, subscribe, denySubscribe } = of(role);
    for (const { why } of [...publish, ...subscribe, ...denySubscribe]) expect(why).toMatch(/\w/);
  }
});
