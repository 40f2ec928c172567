import type { AuditEntry, Decision, JobResult, StreamFrame } from "../../bus-schemas/index.ts";
import type { SeenNode } from "../../client/index.ts";
import type { ReadyFacts, UpReporter } from "./reporter.ts";

/** One JSON object a line on standard output, each with `event` and `time`. */
export class JsonReporter implements UpReporter {
  start(): void {}

  say(line: string): void {
    write("progress", { text: line });
  }

  /** The processes' logs are in their files; here they would only be twice. */
  log(): void {}

  ready({ gatewayUrl, natsUrl, cell, processes, logDir, seconds }: ReadyFacts): void {
    write("ready", {
      gateway_url: gatewayUrl,
      nats_url: natsUrl,
      cell,
      processes,
      log_dir: logDir,
      ready_after_seconds: seconds,
    });
  }

  waitingForModel(): void {
    write("waiting_for_model", {});
  }

  nodes(nodes: readonly SeenNode[]): void {
    for (const { record, state } of nodes) write("node", { state, record });
  }

  question(text: string): void {
    write("first_job", { prompt: text });
  }

  decision(decision: Decision): void {
    write("decision", { decision });
  }

  frame(frame: StreamFrame): void {
    if (frame.type !== "end") write("frame", { frame });
  }

  ended(result: JobResult): void {
    write("result", { result });
  }

  audit(entries: readonly AuditEntry[]): void {
    for (const entry of entries) write("audit", { entry });
  }

  nextSteps(): void {}

  problem(text: string): void {
    write("problem", { text });
  }

  stopping(): void {
    write("stopping", {});
  }

  stopped(): void {
    write("stopped", {});
  }
}

function write(event: string, facts: Record<string, unknown>): void {
  process.stdout.write(`${JSON.stringify({ event, time: new Date().toISOString(), ...facts })}\n`);
}
