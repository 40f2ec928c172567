import { text as readAll } from "node:stream/consumers";
import { type JobRequestInput, type JobResult } from "../../bus-schemas/index.ts";
import { EXIT, examples, type CommandModule } from "../command.ts";
import { dim, print, printJson, yellow } from "../format/terminal.ts";
import { withClient } from "../with-client.ts";

interface SubmitFlags {
  queue: string;
  class?: string;
  model?: string;
  maxTokens?: string;
  timeout?: string;
  json?: boolean;
}

export const submit: CommandModule = (program) => {
  program
    .command("submit")
    .description("send a job through the mesh and print its answer as it comes")
    .argument("<prompt>", "the prompt; - reads it from standard input")
    .option("--queue <name>", "task queue", "chat")
    .option("--class <class>", "data class P0, P1 or P2; without one the policy's default counts")
    .option("--model <name>", "a model by name; without one any that fits")
    .option("--max-tokens <count>", "longest answer, tokens")
    .option("--timeout <seconds>", "give up after this time")
    .option("--json", "the whole result as JSON, not streamed")
    .addHelpText(
      "after",
      examples(
        'tiermesh submit "Why is the sky blue?"',
        'tiermesh submit --class P0 --json "Summarise the contract"',
        "tiermesh submit - < question.txt",
      ),
    )
    .action((prompt: string, flags: SubmitFlags) =>
      withClient(async (client) => {
        const request = await toRequest(prompt, flags);
        const stop = new AbortController();
        process.once("SIGINT", () => stop.abort());
        let result: JobResult | undefined;
        if (flags.json === true) {
          result = await client.submit(request, { queue: flags.queue, signal: stop.signal });
          printJson(result);
        } else {
          for await (const frame of client.stream(request, { queue: flags.queue, signal: stop.signal })) {
            if (frame.type === "delta") process.stdout.write(frame.content ?? "");
            if (frame.type === "end") result = frame;
          }
          print();
          if (result !== undefined) explain(result);
        }
        process.exitCode = result?.status === "finished" ? EXIT.ok : EXIT.failed;
      }),
    );
};

async function toRequest(prompt: string, flags: SubmitFlags): Promise<JobRequestInput> {
  return {
    prompt: prompt === "-" ? await readAll(process.stdin) : prompt,
    task_type: flags.queue,
    ...(flags.class === undefined ? {} : { security_level: flags.class }),
    ...(flags.model === undefined ? {} : { model: flags.model }),
    ...(flags.maxTokens === undefined ? {} : { max_tokens: Number(flags.maxTokens) }),
    ...(flags.timeout === undefined ? {} : { timeout_ms: Number(flags.timeout) * 1000 }),
  };
}

/** Who answered, on standard error so that a pipe gets the answer alone. */
function explain(result: JobResult): void {
  const place = `${result.node_id ?? "nobody"}${result.model === null ? "" : `, ${result.model}`}`;
  process.stderr.write(
    `${dim(`${result.status} by ${place} · class ${result.security_level ?? "?"} · job ${result.job_id}`)}\n`,
  );
  if (result.error !== null) process.stderr.write(`${yellow(`${result.error.code}: ${result.error.message}`)}\n`);
}
