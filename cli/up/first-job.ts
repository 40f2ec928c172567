import { Decision, type JobResult } from "../../bus-schemas/index.ts";
import type { MeshClient } from "../../client/index.ts";
import { newId } from "../../service/ids.ts";
import { auditOfJob } from "../audit-client.ts";
import type { UpReporter } from "./reporter.ts";

const QUESTION = "In one short sentence: what is a mesh network?";
/** The answer is shown, not studied. */
const MAX_TOKENS = 80;
/** The decision is recorded before the job is dispatched, so it is here before the answer; milliseconds. */
const DECISION_LIMIT_MS = 2000;

/** Sends one real job through the mesh and reports its decision, its answer as it comes, and its audit entries. */
export async function runFirstJob(
  client: MeshClient,
  report: UpReporter,
  signal: AbortSignal,
): Promise<JobResult | undefined> {
  const jobId = newId();
  const decided = decisionOf(client, jobId);
  report.question(QUESTION);
  let result: JobResult | undefined;
  try {
    const messages = [{ role: "user" as const, content: QUESTION }];
    const request = {
      job_id: jobId,
      task_type: "chat",
      security_level: "P2",
      messages,
      max_tokens: MAX_TOKENS,
      temperature: 0,
    };
    let shown = false;
    for await (const frame of client.stream(request, { signal })) {
      if (!shown) {
        shown = true;
        const decision = await decided.within(DECISION_LIMIT_MS);
        if (decision !== undefined) report.decision(decision);
      }
      report.frame(frame);
      if (frame.type === "end") result = frame;
    }
  } finally {
    decided.close();
  }
  if (result === undefined) return undefined;
  report.ended(result);
  report.audit(await auditOfJob(client, jobId));
  return result;
}

/** The decision of a job, from the event that its router recorded before dispatch. */
function decisionOf(client: MeshClient, jobId: string) {
  const { promise, resolve } = Promise.withResolvers<Decision | undefined>();
  const subscription = client.bus.listen(client.bus.subjects.eventsOf("job_decided", "P2"), (msg) => {
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
