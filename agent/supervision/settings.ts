import { z } from "zod";
import { SubjectToken } from "../../bus-schemas/index.ts";
import { parseLoopbackUrl } from "../runtimes/loopback-http.ts";

/** A unit of systemd's; the name begins with no dash, so that it can be no option of systemctl's. */
const SERVICE_UNIT = /^[A-Za-z0-9:_.\\@][A-Za-z0-9:_.\\@-]{0,200}\.service$/;
const Word = z
  .string()
  .min(1)
  .max(4096)
  .regex(/^[^\0]*$/, "no zero byte");

const Url = z.string().superRefine((text, context) => {
  try {
    parseLoopbackUrl(text, "url");
  } catch {
    context.addIssue({ code: "custom", message: "an address of this machine with a port, as http://127.0.0.1:8000" });
  }
});

/** A runtime that the agent starts, and starts again when it stops answering; exactly one of `command` and `unit`. */
export const ManagedRuntime = z
  .strictObject({
    /** Where it listens on this machine: its health is asked there, and its models are found there. */
    url: Url,
    /** Program and arguments, without a shell; the agent runs it as its own user. */
    command: z.array(Word).min(1).max(200).optional(),
    /** Further variables of the command. */
    env: z.record(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, "a variable's name"), Word).optional(),
    /** Working folder of the command. */
    cwd: z.string().min(1).max(4096).optional(),
    /** File to which the command's output is added; without one it is thrown away, for runtimes may write prompts there. */
    log_file: z.string().min(1).max(4096).optional(),
    /** A service of systemd's that the agent may restart. */
    unit: z.string().regex(SERVICE_UNIT, "the name of a unit, as vllm.service").optional(),
    /** The unit is one of the agent's own user (`systemctl --user`). */
    user_unit: z.boolean().optional(),
    /** It gets so long from a start until it answers, seconds: large models load for minutes. */
    start_seconds: z.number().min(1).max(7200).default(600),
    /** When it has answered before: silent for so long, it is restarted, seconds. */
    silent_seconds: z.number().min(1).max(3600).default(20),
    /** Restarts in a row, without a good run between them, after which it is given up until somebody orders one. */
    give_up_after: z.number().int().min(1).max(1000).default(6),
  })
  .superRefine(({ command, unit, env, cwd, log_file: logFile, user_unit: userUnit }, context) => {
    const issue = (path: string, message: string) => context.addIssue({ code: "custom", path: [path], message });
    if ((command === undefined) === (unit === undefined)) issue("command", "exactly one of command and unit");
    if (unit === undefined && userUnit !== undefined) issue("user_unit", "only with unit");
    for (const [field, value] of Object.entries({ env, cwd, log_file: logFile }))
      if (command === undefined && value !== undefined) issue(field, "only with command");
  });
export type ManagedRuntime = z.infer<typeof ManagedRuntime>;

/** Names that would be taken for what the agent manages without being told. */
const RESERVED = ["embedded", "loopback"];

/** By name, as `tiermesh node restart-runtime NODE NAME` has it. */
export const ManagedRuntimes = z.record(SubjectToken, ManagedRuntime).superRefine((all, context) => {
  const ports = new Set<number>();
  for (const [name, { url }] of Object.entries(all)) {
    if (RESERVED.includes(name)) context.addIssue({ code: "custom", path: [name], message: "is the agent's own name" });
    // What is wrong with an address is told already.
    if (!Url.safeParse(url).success) continue;
    const { port } = parseLoopbackUrl(url, "url");
    if (ports.has(port)) context.addIssue({ code: "custom", path: [name, "url"], message: "another has this port" });
    ports.add(port);
  }
});
