import { parseArgs } from "node:util";
import { availableParallelism, cpus } from "node:os";
import { auditLog } from "./audit-log.ts";
import type { Bench, Report } from "./bench.ts";
import { auditIndex } from "./audit-index.ts";
import { auditMemory } from "./audit-memory.ts";
import { bus } from "./bus.ts";
import { codec } from "./codec.ts";
import { commitments } from "./commitments.ts";
import { decideBench } from "./decide.ts";
import { durable } from "./durable.ts";
import { failover } from "./failover.ts";
import { fleet } from "./fleet.ts";
import { gateway } from "./gateway.ts";
import { describe, type Comparison } from "./harness.ts";
import { idle } from "./idle.ts";
import { queues } from "./queues.ts";
import { router } from "./router.ts";
import { sealed } from "./sealed.ts";

/** Every bench. Adding one is one file and one line here. */
const BENCHES: Readonly<Record<string, Bench>> = {
  bus,
  codec,
  commitments,
  decide: decideBench,
  router,
  gateway,
  sealed,
  queues,
  durable,
  failover,
  fleet,
  idle,
  "audit-index": auditIndex,
  "audit-log": auditLog,
  "audit-memory": auditMemory,
};

const HELP = `npm run bench -- <name> [--json] [--minutes N]

Measures against a floor of the same run; never passes or fails.

${Object.entries(BENCHES)
  .map(([name, { summary }]) => `  ${name.padEnd(12)} ${summary}`)
  .join("\n")}

  --json      one JSON object at the end instead of lines
  --minutes   how long to look, for idle (5)
  --help      this
`;

const print = (text: string) => void process.stdout.write(`${text}\n`);

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    json: { type: "boolean", default: false },
    minutes: { type: "string" },
    help: { type: "boolean", short: "h", default: false },
  },
});
const [name] = positionals;
const bench = name === undefined ? undefined : BENCHES[name];
if (values.help || name === undefined) print(HELP);
else if (bench === undefined) {
  process.stderr.write(`no bench "${name}"\n\n${HELP}`);
  process.exitCode = 2;
} else await measure(bench);

async function measure({ run, summary }: Bench): Promise<void> {
  const machine = {
    node: process.version,
    platform: process.platform,
    cores: availableParallelism(),
    cpu: cpus()[0]?.model,
  };
  const comparisons: Comparison[] = [];
  const notes: string[] = [];
  const say = values.json ? () => undefined : print;
  const report: Report = {
    add: (comparison) => {
      comparisons.push(comparison);
      say(describe(comparison).join("\n"));
    },
    note: (text) => {
      notes.push(text);
      say(`  ${text}`);
    },
  };
  say(`${summary}\nNode ${machine.node}, ${machine.cores} cores, ${machine.cpu}`);
  await run(report, { minutes: values.minutes === undefined ? undefined : Number(values.minutes) });
  if (values.json) print(JSON.stringify({ bench: name, machine, comparisons, notes }));
}
