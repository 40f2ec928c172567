import type { Command } from "commander";
import {
  INPUT_FIELDS,
  KeyBytes,
  MeshError,
  type AuditEntry,
  type Commitments,
  type EventData,
} from "../../bus-schemas/index.ts";
import { canonicalJson } from "../../service/canonical-json.ts";
import { commitment, inputText } from "../../service/commitment.ts";
import { saltsDir } from "../../service/paths.ts";
import { SaltKeeper } from "../../service/salts.ts";
import { EXIT, examples } from "../command.ts";
import { harmless, print, printJson } from "../format/terminal.ts";
import { jobId } from "./filter.ts";
import { readGiven } from "./log-folder.ts";
import { allEntries, withSource, type SourceFlags } from "./source.ts";

export interface CompareFlags extends SourceFlags {
  subject?: string;
  saltFile?: string;
  salts?: string;
  json?: boolean;
}

/** What an entry commits to, as people call it. */
const WHAT = {
  input_hmac: "the input",
  answer_hmac: "the answer",
  whole_answer_hmac: "the whole answer, which another node began,",
  tool_calls_hmac: "the tool calls",
  egress_hmac: "the request to the provider",
} as const satisfies Record<Exclude<keyof Commitments, "salt_from">, string>;

interface Match {
  what: keyof typeof WHAT;
  node_id: string | null;
  sequence: number;
}

/** `audit compare`: whether a file is what a job was given, or what it answered. */
export function addCompareCommand(audit: Command): void {
  audit
    .command("compare")
    .description("whether a file is the input or the answer of a job, by the commitments on record; ends with 1 if not")
    .argument("<job>", "the job's id", jobId)
    .argument("<file>", "a text, the body of a request or of an answer (OpenAI's, or `tiermesh submit --json`)")
    .option("--subject <name>", "the caller whose salt is meant; the one on record if not said")
    .option("--salts <folder>", "where the salts of callers are; `salts` in this machine's state folder if not said")
    .option("--salt-file <file>", "the salt that was handed over with the answer, where the job named no caller")
    .option("--offline <folder>", "look into this copy of a log (the auditor's folder, or its tlog); needs no mesh")
    .option("--key <file>", "the log's verifier key, with --offline (the auditor's log-key.pub)")
    .option("--json", "as JSON")
    .addHelpText(
      "after",
      examples(
        "tiermesh audit compare 01J8Z3… answer.txt",
        "tiermesh audit compare 01J8Z3… request.json --subject alice",
        "tiermesh audit compare 01J8Z3… question.txt --salt-file salt.txt --offline /mnt/copy/tlog",
      ),
    )
    .action(compare);
}

export async function compare(job: string, file: string, flags: CompareFlags): Promise<void> {
  const content = readGiven(file);
  const entries = await withSource(flags, (source) => Array.fromAsync(allEntries(source, { job_id: job })));
  const committed = entries.flatMap((entry) => {
    const { commitments, node_id } = (entry.data ?? {}) as Partial<EventData<"job_ended">>;
    return commitments === undefined ? [] : [{ sequence: entry.sequence, node_id: node_id ?? null, commitments }];
  });
  if (committed.length === 0)
    throw new MeshError(
      "not_found",
      `job ${job}: the log has no commitments of it; no node has ended it, or an old one`,
    );
  const salt = await saltOf(job, entries, flags);
  const contents = salt === undefined ? [] : readings(content).map((text) => commitment(salt, text));
  const matches = committed.flatMap(({ commitments, ...entry }) =>
    whats(commitments).flatMap((what): Match[] =>
      contents.includes(commitments[what] ?? "") ? [{ what, ...entry }] : [],
    ),
  );
  if (matches.length === 0) process.exitCode = EXIT.failed;
  if (flags.json === true) return printJson({ job_id: job, salt: salt !== undefined, matches });
  if (salt === undefined) return print("no salt of this caller here: it was erased, or is elsewhere; nobody can tell");
  if (matches.length === 0)
    return print(`it is none of what job ${job} commits to, or the salt is another one's (${tried(committed)})`);
  for (const { what, node_id, sequence } of matches)
    print(`it is ${WHAT[what]} of job ${job}${node_id === null ? "" : ` on ${node_id}`}, entry #${sequence}`);
}

function whats(commitments: Commitments): (keyof typeof WHAT)[] {
  return (Object.keys(WHAT) as (keyof typeof WHAT)[]).filter((what) => commitments[what] !== undefined);
}

function tried(committed: readonly { commitments: Commitments }[]): string {
  const all = new Set(committed.flatMap(({ commitments }) => whats(commitments)));
  return `there are commitments of ${[...all].map((what) => WHAT[what]).join(", ")}`;
}

/** @returns undefined when the caller's salt is not here */
async function saltOf(job: string, entries: readonly AuditEntry[], flags: CompareFlags): Promise<Buffer | undefined> {
  const { subject, saltFile, salts } = flags;
  if (subject !== undefined && saltFile !== undefined)
    throw new MeshError("bad_request", "--subject and --salt-file: a job has one salt; say one of them");
  if (saltFile !== undefined) {
    const text = readGiven(saltFile).toString("latin1").trim();
    // What is in the file is a secret of its owner: it is not quoted.
    if (!KeyBytes.safeParse(text).success)
      throw new MeshError("bad_request", `${saltFile}: holds no salt; it is 43 letters, digits, - and _`);
    return Buffer.from(text, "base64url");
  }
  const name = subject ?? recordedCaller(job, entries);
  return new SaltKeeper(salts ?? saltsDir()).findJobSalt(name, job);
}

function recordedCaller(job: string, entries: readonly AuditEntry[]): string {
  const callers = entries.flatMap((entry) => ((entry.data ?? {}) as Partial<EventData<"job_ended">>).caller ?? []);
  const [caller] = callers;
  if (caller === undefined)
    throw new MeshError(
      "bad_request",
      `job ${job} names no caller: say --salt-file with the salt that came with its answer`,
    );
  if (caller.pseudonyms)
    throw new MeshError(
      "bad_request",
      `job ${job} has only a pseudonym of its caller (${harmless(caller.id)}): say who that is with --subject`,
    );
  return caller.id;
}

/** What the file may stand for: every text that a node would have committed to. */
function readings(content: Buffer): (string | Uint8Array)[] {
  const text = content.toString("utf8");
  const texts = [text, text.replace(/\r?\n$/, "")];
  const asked = texts.flatMap((prompt) => [
    inputText({ prompt }),
    inputText({ messages: [{ role: "user", content: prompt }] }),
  ]);
  return [content, ...texts, ...asked, ...jsonReadings(text)];
}

function jsonReadings(text: string): string[] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return [];
  }
  const body = (typeof value === "object" && value !== null ? value : {}) as Body;
  const { message, choices, output } = body;
  const answers = [message, ...(Array.isArray(choices) ? choices.map((choice) => choice.message ?? choice) : [])];
  return [
    canonicalJson(value),
    ...(INPUT_FIELDS.some((field) => field in body) ? [inputText(body)] : []),
    ...(Array.isArray(value) ? [inputText({ messages: value })] : []),
    ...answers.flatMap((answer) => [answer?.content, answer?.text].filter((each) => typeof each === "string")),
    ...answers.flatMap((answer) => (answer?.tool_calls === undefined ? [] : [canonicalJson(answer.tool_calls)])),
    ...(output === undefined ? [] : [canonicalJson(output)]),
  ];
}

/** Of a request, of an answer of OpenAI's, or of a result of ours, whatever is in it. */
interface Body extends Record<string, unknown> {
  message?: Answer | null;
  choices?: (Answer & { message?: Answer })[];
  output?: unknown;
}
interface Answer {
  content?: unknown;
  text?: unknown;
  tool_calls?: unknown;
}
