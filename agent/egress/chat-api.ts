import type { DeltaFrame } from "../../bus-schemas/index.ts";
import type { EventStreamOptions } from "../runtimes/event-stream.ts";
import type { StreamDone } from "../runtimes/openai-answer.ts";
import type { RuntimeJob } from "../runtimes/runtime.ts";
import type { CloudModel } from "./provider.ts";

/** One shape of cloud API: how a job becomes its request, and its event stream the answer. */
export interface ChatApi {
  /** Put after the provider's base URL. */
  path: string;
  /** The headers that carry the key, and what else each request of this API needs. */
  headers(key: string): Record<string, string>;
  /**
   * The request body; it names the model as the provider does, and nothing of the mesh.
   * @throws MeshError `bad_request` naming the field that this API cannot take.
   */
  body(job: RuntimeJob, model: CloudModel): Record<string, unknown>;
  /** @throws MeshError `runtime_failed` or `all_busy`; never quoting what the provider said. */
  read(
    body: AsyncIterable<Buffer>,
    job: RuntimeJob,
    options: EventStreamOptions,
  ): AsyncIterable<DeltaFrame | StreamDone>;
}
