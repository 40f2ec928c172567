import {
  ROLES,
  TOOL_INBOX,
  permissionsOf,
  type Grant,
  type Holder,
  type Layer,
  type Permissions,
  type Role,
} from "../bus-schemas/index.ts";

/** What the table says beside subjects, in one language. */
export interface Wording {
  columns: readonly [string, string, string];
  publish: string;
  subscribe: string;
  denySubscribe: string;
  /** Title of the operator's second user, whose inboxes are where every tool makes its own. */
  tools: string;
  /** Of a text of bus-schemas/permissions.ts. @throws Error when there is none */
  translate: (text: string) => string;
}

export const ENGLISH: Wording = {
  columns: ["may", "subjects", "why"],
  publish: "say",
  subscribe: "hear",
  denySubscribe: "**never** hear",
  tools: "`operator-tools`: as `operator`, for the nats command line, with inboxes where all tools make them",
  translate: (text) => text,
};

/** Places in templates, as they are spelled and as they are shown. */
const PLACES = { node: "_node_", layer: "_layer_" as Layer, inbox: "_inbox_" };

/** All that the templates grant and deny, role by role, as Markdown. */
export function permissionTables(wording: Wording): string {
  const sections = (Object.keys(ROLES) as Role[]).map((role) =>
    section(`\`${role}\`: ${wording.translate(ROLES[role])}`, permissionsOf(role, PLACES), wording),
  );
  const tools = permissionsOf("operator", { ...PLACES, inbox: TOOL_INBOX });
  return [...sections, section(wording.tools, otherThan(permissionsOf("operator", PLACES), tools), wording)].join("\n");
}

/** Every text of the templates that a translation needs. */
export function permissionTexts(): Set<string> {
  const roles = Object.keys(ROLES) as Role[];
  const holders: Holder[] = [PLACES, { ...PLACES, inbox: TOOL_INBOX }];
  const grants = holders.flatMap((holder) =>
    roles.flatMap((role) => Object.values(permissionsOf(role, holder)).flat()),
  );
  return new Set([...Object.values(ROLES), ...grants.map(({ why }: Grant) => why)]);
}

function otherThan(usual: Permissions, special: Permissions): Permissions {
  const added = (way: keyof Permissions) =>
    special[way].filter(({ subject }) => !usual[way].some((grant) => grant.subject === subject));
  return { publish: added("publish"), subscribe: added("subscribe"), denySubscribe: added("denySubscribe") };
}

function section(title: string, permissions: Permissions, wording: Wording): string {
  const ways = ["publish", "subscribe", "denySubscribe"] as const;
  const rows = ways.flatMap((way) =>
    byReason(permissions[way]).map(([why, subjects]) => [
      wording[way],
      fold(subjects).map(shown).join(" "),
      wording.translate(why),
    ]),
  );
  const lines = [wording.columns, ["---", "---", "---"], ...rows].map((cells) => `| ${cells.join(" | ")} |`);
  return `${title}\n\n${lines.join("\n")}\n`;
}

function byReason(grants: readonly Grant[]): [string, string[]][] {
  const found = new Map<string, Set<string>>();
  for (const { subject, why } of grants) found.set(why, (found.get(why) ?? new Set()).add(subject));
  return Array.from(found, ([why, subjects]) => [why, [...subjects]]);
}

/** Subjects that differ in one word become one with `{a,b}` there. */
export function fold(subjects: readonly string[]): string[] {
  let folded = subjects.map((subject) => subject.split("."));
  for (let place = 0; place < Math.max(0, ...folded.map((words) => words.length)); place++) {
    const groups = new Map<string, string[][]>();
    for (const words of folded) {
      const rest = JSON.stringify(words.with(Math.min(place, words.length - 1), place < words.length ? "" : "-"));
      groups.set(rest, [...(groups.get(rest) ?? []), words]);
    }
    folded = [...groups.values()].flatMap((group) => {
      const [first] = group;
      if (first === undefined || group.length === 1 || place >= first.length) return group;
      const choices = group.map((words) => words[place] ?? "").join(",");
      return [first.with(place, `{${choices}}`)];
    });
  }
  return folded.map((words) => words.join("."));
}

function shown(subject: string): string {
  return `\`${subject.replaceAll("_inbox_", "<own inbox>").replace(/_(node|layer)_/g, "<$1>")}\``;
}
