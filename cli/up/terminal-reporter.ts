import type { AuditEntry, Decision, JobResult, StreamFrame } from "../../bus-schemas/index.ts";
import type { SeenNode } from "../../client/index.ts";
import { auditLine } from "../format/audit.ts";
import { formatDecision } from "../format/decision.ts";
import { formatNodes } from "../format/node.ts";
import { harmless, bold, dim, print, yellow } from "../format/terminal.ts";
import { LogPrinter } from "./log-printer.ts";
import type { ReadyFacts, UpReporter } from "./reporter.ts";

/** Width of the left column. */
const LEFT = 11;

/** For a person: a left column that says what the right one is about. */
export class TerminalReporter implements UpReporter {
  readonly #logs = new LogPrinter(print);

  start(): void {
    print(bold("Tiermesh"));
  }

  say(line: string): void {
    print(line);
  }

  log(process: string, line: string): void {
    this.#logs.onLine(process, line);
  }

  ready({ gatewayUrl, processes, logDir, seconds }: ReadyFacts): void {
    print(left("parts") + `${processes.join(", ")}; logs in ${logDir}`);
    print(left("gateway") + `${gatewayUrl}  ${dim(`ready after ${seconds.toFixed(1)} s`)}`);
  }

  waitingForModel(): void {
    print(dim(`${left("model")}looking for one …`));
  }

  nodes(nodes: readonly SeenNode[]): void {
    print(`\n${formatNodes(nodes)}\n`);
  }

  question(text: string): void {
    print(`${bold(left("first job"))}"${text}"`);
  }

  decision(decision: Decision): void {
    for (const line of formatDecision(decision).split("\n")) print(left("") + line);
  }

  frame(frame: StreamFrame): void {
    if (frame.type === "accepted") {
      process.stdout.write(bold(left("answer")) + (frame.diagnostic ? yellow("(diagnostic, no model) ") : ""));
    }
    if (frame.type === "delta") process.stdout.write(harmless(frame.content ?? "").replaceAll("\n", " "));
  }

  ended({ status, node_id: nodeId, model, usage, timing, error }: JobResult): void {
    const parts: string[] = [status, `by ${nodeId ?? "nobody"}`];
    if (model !== null) parts.push(model);
    if (usage !== null) parts.push(`${usage.completion_tokens} tokens`);
    if (timing !== null) {
      parts.push(
        `first token after ${Math.round(timing.ttft_ms ?? timing.total_ms)} ms, all in ${Math.round(timing.total_ms)} ms`,
      );
    }
    print();
    print(dim(left("") + parts.join(" · ")));
    if (error !== null) print(yellow(`${left("")}${error.code}: ${error.message}`));
  }

  audit(entries: readonly AuditEntry[]): void {
    for (const entry of entries) print(bold(left("audit")) + auditLine(entry));
  }

  nextSteps({ gatewayUrl, cell }: ReadyFacts): void {
    const request = `{"task_type":"chat","security_level":"P2","messages":[{"role":"user","content":"hello"}]}`;
    print();
    print(bold("try next") + dim("   (in another terminal; Ctrl-C here stops everything)"));
    print(`  curl ${gatewayUrl}/health`);
    print(
      `  curl -X POST ${gatewayUrl}/route -H 'Content-Type: application/json' -d '{"task_type":"chat","security_level":"P2"}'`,
    );
    print(`  npx tiermesh submit "Why is the sky blue?"      npx tiermesh nodes      npx tiermesh audit tail`);
    print(dim("  OpenAI SDK:"));
    print(
      `  new OpenAI({ baseURL: "${gatewayUrl}/v1", apiKey: "none" }).chat.completions.create({ model: "auto", messages, stream: true })`,
    );
    print(dim("  any NATS client, for example the nats CLI:"));
    print(`  eval "$(npx tiermesh bus env)"; nats req --timeout 30s mesh.${cell}.job.submit.chat '${request}'`);
  }

  problem(text: string): void {
    print(yellow(text));
  }

  stopping(): void {
    print(dim("stopping …"));
  }

  stopped(): void {
    print(dim("stopped"));
  }
}

function left(text: string): string {
  return text.padEnd(LEFT);
}
