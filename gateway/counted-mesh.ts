import type { JobResult, StreamFrame } from "../bus-schemas/index.ts";
import type { MeshClient } from "../client/index.ts";
import type { Mesh } from "./mesh.ts";

/** Counts the jobs that go through it, for the auditor to compare with the log (ADR 0029). */
export class CountedMesh implements Mesh {
  readonly #mesh: Mesh;
  /** Jobs handed to the mesh, and those of them that it finished. */
  readonly counts = { submitted: 0, finished: 0 };

  constructor(mesh: Mesh) {
    this.#mesh = mesh;
  }

  get nodes(): Mesh["nodes"] {
    return this.#mesh.nodes;
  }

  readonly decide: Mesh["decide"] = (...query) => this.#mesh.decide(...query);

  readonly receipt: Mesh["receipt"] = (jobId) => this.#mesh.receipt(jobId);

  readonly submit = async (...job: Parameters<MeshClient["submit"]>): Promise<JobResult> => {
    this.counts.submitted++;
    const result = await this.#mesh.submit(...job);
    if (result.status === "finished") this.counts.finished++;
    return result;
  };

  async *stream(...job: Parameters<MeshClient["stream"]>): AsyncGenerator<StreamFrame, void, undefined> {
    this.counts.submitted++;
    for await (const frame of this.#mesh.stream(...job)) {
      if (frame.type === "end" && frame.status === "finished") this.counts.finished++;
      yield frame;
    }
  }
}
