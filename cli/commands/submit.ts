import { text as readAll } from "node:stream/consumers";
import type { Command } from "commander";
import type { JobRequestInput, JobResult } from "../../bus-schemas/index.ts";
import { callerOf, withCaller, type CallerFlags } from "../caller-options.ts";
import { EXIT, examples, type CommandModule } from "../command.ts";
import { classOption, queueOption, seconds, tokenCount } from "../options.ts";
import { dim, harmless, print, printJson, yellow } from "../format/terminal.ts";
import { withClient } from "../with-client.ts";

interface SubmitFlags extends CallerFlags {
  queue: string;
  class?: string;
  model?: string;
  maxTokens?: number;
  timeout?: number;
  json?: boolean;
}

export const submit: CommandModule = (program) => {
  withCaller(
    program
      .command("submit")
      .description("send a job through the mesh and print its answer as it comes")
      .argument("<prompt>", "the prompt; - reads it from standard input")
      .addOption(queueOption())
      .addOption(classOption())
      .option("--model <name>", "a model by name; without one any that fits")
      .option("--max-tokens <count>", "longest answer, tokens", tokenCount)
      .option("--timeout <seconds>", "give up after this time", seconds),
  )
    .option("--json", "the whole result as JSON, not streamed")
    .addHelpText(
      "after",
      examples(
        'tiermesh submit "Why is the sky blue?"',
        'tiermesh submit --class P0 --json "Summarise the contract"',
        'tiermesh submit --caller service:crm --on-behalf-of alice "Who are my customers?"',
        "tiermesh submit - < question.txt",
      ),
    )
    .action(async (argument: string, flags: SubmitFlags, command: Command) => {
      const prompt = argument === "-" ? await readAll(process.stdin) : argument;
      if (prompt.trim() === "") command.error("error: the prompt is empty");
      const request = toRequest(prompt, flags);
      await withClient(async (client) => {
        const stop = new AbortController();
        process.once("SIGINT", () => stop.abort());
        let result: JobResult | undefined;
        if (flags.json === true) {
          result = await client.submit(request, { queue: flags.queue, signal: stop.signal });
          printJson(result);
        } else {
          for await (const frame of client.stream(request, { queue: flags.queue, signal: stop.signal })) {
            if (frame.type === "delta") process.stdout.write(shown(frame.content ?? ""));
            if (frame.type === "accepted" && frame.cold_start_ms !== null)
              announceColdStart(frame.model, frame.cold_start_ms);
            if (frame.type === "end") result = frame;
          }
          print();
          if (result !== undefined) explain(result);
        }
        process.exitCode = result?.status === "finished" ? EXIT.ok : EXIT.failed;
      });
    });
};

function toRequest(prompt: string, flags: SubmitFlags): JobRequestInput {
  return {
    prompt,
    task_type: flags.queue,
    ...(flags.class === undefined ? {} : { security_level: flags.class }),
    ...(flags.model === undefined ? {} : { model: flags.model }),
    ...(flags.maxTokens === undefined ? {} : { max_tokens: flags.maxTokens }),
    ...(flags.timeout === undefined ? {} : { timeout_ms: flags.timeout * 1000 }),
    ...callerOf(flags),
  };
}

/** A terminal gets what cannot steer it; a pipe gets the answer byte for byte. */
function shown(answer: string): string {
  return process.stdout.isTTY ? harmless(answer) : answer;
}

/** On standard error: the first token will not come at once, and this is why. */
function announceColdStart(model: string, ms: number): void {
  process.stderr.write(`${dim(`${model} is not in memory; loading it takes about ${Math.ceil(ms / 1000)} s`)}\n`);
}

/** Who answered, on standard error so that a pipe gets the answer alone. */
function explain(result: JobResult): void {
  const { status, node_id: node, model, security_level: dataClass, energy_wh: energyWh } = result;
  const parts = [
    node === null ? status : `${status} by ${node}${model === null ? "" : `, ${model}`}`,
    ...(dataClass === null ? [] : [`class ${dataClass}`]),
    ...(energyWh === null ? [] : [`${Number(energyWh.toPrecision(2))} Wh`]),
    `job ${result.job_id}`,
  ];
  process.stderr.write(`${dim(parts.join(" · "))}\n`);
  if (result.error !== null) process.stderr.write(`${yellow(`${result.error.code}: ${result.error.message}`)}\n`);
}
