import { Decision, type JobResult } from "../../bus-schemas/index.ts";
import type { MeshClient } from "../../client/index.ts";
import { newId } from "../../service/ids.ts";
import { auditOfJob } from "../audit-client.ts";
import { auditLine } from "../format/audit.ts";
import { formatDecision } from "../format/decision.ts";
import { bold, dim, print, yellow } from "../format/terminal.ts";

const QUESTION = "In one short sentence: what is a mesh network?";
/** The answer is shown, not studied. */
const MAX_TOKENS = 80;

/** Sends one real job through the mesh and shows its decision, its answer as it comes, and its audit entries. */
export async function showFirstJob(client: MeshClient, signal: AbortSignal): Promise<JobResult | undefined> {
  const jobId = newId();
  const decided = decisionOf(client, jobId);
  print(`${bold("first job")}  "${QUESTION}"`);
  let result: JobResult | undefined;
  try {
    const request = {
      job_id: jobId,
      task_type: "chat",
      security_level: "P2",
      messages: [{ role: "user" as const, content: QUESTION }],
      max_tokens: MAX_TOKENS,
      temperature: 0,
    };
    let shown = false;
    for await (const frame of client.stream(request, { signal })) {
      if (!shown) {
        shown = true;
        const decision = await decided.within(2000);
        if (decision !== undefined) print(indent(formatDecision(decision)));
      }
      if (frame.type === "accepted")
        process.stdout.write(`${bold("answer")}     ${frame.diagnostic ? yellow("(diagnostic, no model) ") : ""}`);
      if (frame.type === "delta") process.stdout.write((frame.content ?? "").replaceAll("\n", " "));
      if (frame.type === "end") result = frame;
    }
  } finally {
    decided.close();
  }
  print();
  if (result === undefined) return undefined;
  print(dim(`           ${summary(result)}`));
  if (result.error !== null) print(yellow(`           ${result.error.code}: ${result.error.message}`));
  const entries = await auditOfJob(client, jobId);
  for (const entry of entries) print(`${bold("audit")}      ${auditLine(entry)}`);
  return result;
}

/** The decision of a job, from the event that its router recorded before dispatch. */
function decisionOf(client: MeshClient, jobId: string) {
  const { promise, resolve } = Promise.withResolvers<Decision | undefined>();
  const subscription = client.bus.listen(client.bus.subjects.event("job_decided", "P2"), (msg) => {
    const body = msg.json<{ job_id?: unknown; decision?: unknown }>();
    const decision = Decision.safeParse(body.decision);
    if (body.job_id === jobId && decision.success) resolve(decision.data);
  });
  return {
    within: (ms: number) =>
      Promise.race([promise, new Promise<undefined>((done) => setTimeout(() => done(undefined), ms).unref())]),
    close: () => subscription.unsubscribe(),
  };
}

function summary({ status, node_id, model, usage, timing }: JobResult): string {
  const parts: string[] = [status, `by ${node_id ?? "nobody"}`, model ?? ""];
  if (usage !== null) parts.push(`${usage.completion_tokens} tokens`);
  if (timing !== null)
    parts.push(
      `first token after ${Math.round(timing.ttft_ms ?? timing.total_ms)} ms, all in ${Math.round(timing.total_ms)} ms`,
    );
  return parts.filter((part) => part !== "").join(" · ");
}

function indent(text: string): string {
  return text
    .split("\n")
    .map((line) => `           ${line}`)
    .join("\n");
}
