import { text as readAll } from "node:stream/consumers";
import { MeshError } from "../../bus-schemas/index.ts";
import type { MeshClient } from "../../client/index.ts";
import { callerOf, type CallerFlags } from "../caller-options.ts";
import { EXIT } from "../command.ts";
import { dim, harmless, note, print, printJson, yellow } from "../format/terminal.ts";
import { operator } from "../policy/source.ts";

export interface AddFlags extends CallerFlags {
  queue: string;
  class?: string;
  model?: string;
  key?: string;
  timeout?: number;
  wait?: boolean;
  json?: boolean;
}

/** Puts a job in its queue, and waits for its end where that is wanted. */
export async function add(client: MeshClient, argument: string, flags: AddFlags): Promise<void> {
  const prompt = argument === "-" ? await readAll(process.stdin) : argument;
  const receipt = await client.enqueue({
    prompt,
    task_type: flags.queue,
    ...(flags.class === undefined ? {} : { security_level: flags.class }),
    ...(flags.model === undefined ? {} : { model: flags.model }),
    ...(flags.key === undefined ? {} : { idempotency_key: flags.key }),
    ...(flags.timeout === undefined ? {} : { timeout_ms: flags.timeout * 1000 }),
    ...callerOf(flags),
  });
  if (flags.wait !== true) return flags.json === true ? printJson(receipt) : print(receipt.job_id);
  note(dim(`job ${receipt.job_id} is in the queue ${receipt.queue}${receipt.duplicate ? ", as it was before" : ""}`));
  const status = await client.waitFor(receipt.job_id);
  if (flags.json === true) printJson(status);
  else if (status.state === "finished") print(harmless(status.result?.message?.content ?? ""));
  else note(yellow(`${status.state}${status.error === null ? "" : `: ${status.error.message}`}`));
  if (status.state !== "finished") process.exitCode = EXIT.failed;
}

/** Takes a job back. */
export async function cancel(client: MeshClient, id: string, { json }: { json?: boolean }): Promise<void> {
  const { result: _, ...status } = await client.withdraw(id);
  if (json === true) printJson(status);
  else print(status.state === "cancelled" ? `${id} is cancelled` : `${id} had ended before: ${status.state}`);
  if (status.state !== "cancelled") process.exitCode = EXIT.failed;
}

/** Sends dead jobs back to their queue: one by its id, or all of a queue. */
export async function requeue(
  client: MeshClient,
  id: string | undefined,
  { queue, json }: { queue?: string; json?: boolean },
): Promise<void> {
  if ((id === undefined) === (queue === undefined))
    throw new MeshError("bad_request", "name one dead job, or a queue with --queue, and not both", { field: "id" });
  const which = id === undefined ? { queue } : { id };
  const { requeued, refused } = await client.durable.desk("requeue", { ...which, by: operator() });
  if (json === true) printJson({ requeued, refused });
  else {
    for (const each of requeued) print(`${each} is in its queue again`);
    for (const { id: each, error } of refused) note(yellow(harmless(`${each}: ${error.message}`)));
    if (requeued.length + refused.length === 0) print("no dead letters in this queue");
  }
  if (refused.length > 0) process.exitCode = EXIT.failed;
}

/** Throws a dead letter away. */
export async function drop(client: MeshClient, id: string, { json }: { json?: boolean }): Promise<void> {
  const answer = await client.durable.desk("drop", { id, by: operator() });
  if (json === true) printJson(answer);
  else print(`${id} is dropped`);
}
