import type { JobResult } from "../../bus-schemas/index.ts";
import type { MeshClient } from "../../client/index.ts";
import { newId } from "../../service/ids.ts";
import { auditOfJob } from "../audit-client.ts";
import { DecisionWatch } from "../decisions.ts";
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
  using decisions = new DecisionWatch(client, ["P2"]);
  decisions.expect(jobId);
  report.question(QUESTION);
  let result: JobResult | undefined;
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
      const decision = await decisions.of(jobId, DECISION_LIMIT_MS);
      if (decision !== undefined) report.decision(decision);
    }
    report.frame(frame);
    if (frame.type === "end") result = frame;
  }
  if (result === undefined) return undefined;
  report.ended(result);
  report.audit(await auditOfJob(client, jobId));
  return result;
}
