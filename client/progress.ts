import type { JobRequestInput, JobResult, StreamFrame } from "../bus-schemas/index.ts";

/** About so many characters are a token, where nobody has counted. */
const CHARS_PER_TOKEN = 4;

type Accepted = Extract<StreamFrame, { type: "accepted" }>;
type Delta = Extract<StreamFrame, { type: "delta" }>;

/**
 * What of an answer its caller has by now, over all the nodes that wrote it: by it a lost answer is gone on with. Pieces are
 * taken in as they are handed over, so that what is asked for is exactly what is missing.
 */
export class Progress {
  /** Who runs it, or ran it last. */
  accepted: Accepted | undefined;
  #content = "";
  #pieces = 0;
  /** Reasoning or a tool call: nobody can be given half of it. */
  #other: string | undefined;
  /** Of the nodes before, estimated. */
  #tokensBefore = 0;

  take({ content, reasoning, tool_calls: toolCalls }: Delta): void {
    this.#pieces++;
    this.#content += content ?? "";
    if (reasoning !== undefined) this.#other = "its reasoning";
    if (toolCalls !== undefined) this.#other = "a tool call";
  }

  /** The caller has a piece of the answer: another node must go on with it, not begin anew. */
  get begun(): boolean {
    return this.#pieces > 0;
  }

  /** Why no other node can go on with it, or undefined. */
  stuck(request: JobRequestInput): string | undefined {
    if (this.#other !== undefined) return `${this.#other} cannot be gone on with`;
    // Such a node would begin the form anew, in the middle of it.
    if (request.response_format !== undefined && request.response_format.type !== "text")
      return "an answer of a given form cannot be gone on with";
    return this.#content === "" ? "nothing of it can be gone on with" : undefined;
  }

  /** The same job for the same model on another node, which writes what comes after the pieces that are here. */
  rest(request: JobRequestInput): JobRequestInput {
    const written = this.#tokens();
    this.#tokensBefore = written;
    return {
      ...request,
      ...(this.accepted === undefined ? {} : { model: this.accepted.model }),
      ...(request.max_tokens === undefined ? {} : { max_tokens: Math.max(1, request.max_tokens - written) }),
      continue_from: (request.continue_from ?? "") + this.#content,
    };
  }

  /** The ending with the usage of the whole answer: what other nodes wrote was a part of the prompt for the last one. */
  whole(end: JobResult): JobResult {
    if (this.#tokensBefore === 0 || end.usage === null) return end;
    const { prompt_tokens: prompt, completion_tokens: completion } = end.usage;
    const usage = {
      prompt_tokens: Math.max(0, prompt - this.#tokensBefore),
      completion_tokens: completion + this.#tokensBefore,
      estimated: true,
    };
    return { ...end, usage };
  }

  #tokens(): number {
    return Math.max(this.#pieces, Math.ceil(this.#content.length / CHARS_PER_TOKEN));
  }
}
