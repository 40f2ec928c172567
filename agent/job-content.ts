import { MeshError, RUNTIME_PARAMETERS, type JobRequest } from "../bus-schemas/index.ts";
import type { JobFacts } from "./job.ts";

/**
 * What of a job goes to its runtime.
 * @throws MeshError `bad_request` when it has neither messages nor a prompt.
 */
export function contentOf(request: JobRequest): Pick<JobFacts, "messages" | "parameters" | "continues"> {
  const messages =
    request.messages ??
    (request.prompt === undefined ? undefined : [{ role: "user" as const, content: request.prompt }]);
  if (messages === undefined)
    throw new MeshError("bad_request", "messages: a job needs messages or a prompt", { field: "messages" });
  const parameters: Record<string, unknown> = {};
  for (const name of RUNTIME_PARAMETERS) if (request[name] !== undefined) parameters[name] = request[name];
  const { continue_from: begun } = request;
  if (begun === undefined) return { messages, parameters, continues: false };
  return { messages: [...messages, { role: "assistant", content: begun }], parameters, continues: true };
}
