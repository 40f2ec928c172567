import { RUNTIME_PARAMETERS, taskInputOf, type JobRequest, type TaskInput } from "../bus-schemas/index.ts";
import type { JobFacts } from "./job.ts";

/**
 * What of a job goes to its runtime.
 * @throws MeshError `bad_request` naming what its task is missing.
 */
export function contentOf(
  request: JobRequest,
): Pick<JobFacts, "messages" | "parameters" | "continues"> & { input?: TaskInput } {
  const input = taskInputOf(request);
  const parameters: Record<string, unknown> = {};
  for (const name of RUNTIME_PARAMETERS) if (request[name] !== undefined) parameters[name] = request[name];
  const { continue_from: begun, prompt = "" } = request;
  // A completion goes on with whatever text it is given, so the beginning of the answer is a part of that text.
  if (input?.task === "completion")
    return { messages: [], parameters, continues: false, input: { ...input, prompt: input.prompt + (begun ?? "") } };
  // Nothing of the others is written, so nothing is sampled and nothing gone on with.
  if (input !== undefined) return { messages: [], parameters: {}, continues: false, input };
  const messages = request.messages ?? [{ role: "user" as const, content: prompt }];
  if (begun === undefined) return { messages, parameters, continues: false };
  return { messages: [...messages, { role: "assistant", content: begun }], parameters, continues: true };
}
