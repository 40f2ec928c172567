import { randomBytes } from "node:crypto";
import {
  joinToolCalls,
  type Commitments,
  type DeltaFrame,
  type JobRequest,
  type TaskOutput,
  type ToolCallDelta,
} from "../bus-schemas/index.ts";
import { canonicalJson } from "../service/canonical-json.ts";
import { SALT_BYTES, TextCommitment, commitment, inputText } from "../service/commitment.ts";

/** Tool calls are kept until the run has ended; longer ones than this are not committed to, characters of JSON. */
const MAX_TOOL_CALL_CHARS = 4 * 1024 * 1024;

/** What one run commits to: gathered while it writes, worked out when it has ended. */
export class JobCommitments {
  readonly #request: JobRequest;
  readonly #salt: Buffer;
  readonly #answer: TextCommitment;
  readonly #whole: TextCommitment | undefined;
  #toolCalls: ToolCallDelta[] = [];
  #toolCallChars = 0;
  #written = false;
  /** Of what was sent to a provider, as the thread that sends it says. */
  egress: string | undefined;
  /** For the caller, who brought none; base64url. */
  readonly handedOver: string | null;

  constructor(request: JobRequest) {
    const { commitment_salt: brought, continue_from: begun } = request;
    this.#request = request;
    this.#salt = brought === undefined ? randomBytes(SALT_BYTES) : Buffer.from(brought, "base64url");
    this.handedOver = brought === undefined ? this.#salt.toString("base64url") : null;
    this.#answer = new TextCommitment(this.#salt);
    if (begun !== undefined) this.#whole = new TextCommitment(this.#salt, begun);
  }

  /** base64url, for whoever commits to something in another thread. */
  get salt(): string {
    return this.#salt.toString("base64url");
  }

  /** A piece of the answer. */
  take({ content, tool_calls: toolCalls }: DeltaFrame): void {
    if (content !== undefined) {
      this.#written = true;
      this.#answer.add(content);
      this.#whole?.add(content);
    }
    if (toolCalls === undefined || this.#toolCallChars > MAX_TOOL_CALL_CHARS) return;
    this.#toolCallChars += JSON.stringify(toolCalls).length;
    if (this.#toolCallChars > MAX_TOOL_CALL_CHARS) this.#toolCalls = [];
    else this.#toolCalls.push(...(toolCalls as ToolCallDelta[]));
  }

  /** Once, when it has ended. */
  done(output: TaskOutput | null): Commitments {
    const calls = joinToolCalls(this.#toolCalls);
    const input = this.#input();
    return {
      salt_from: this.handedOver === null ? "caller" : "node",
      ...(input === undefined ? {} : { input_hmac: input }),
      ...(output === null ? {} : { answer_hmac: commitment(this.#salt, canonicalJson(output)) }),
      ...(this.#written ? { answer_hmac: this.#answer.done() } : {}),
      ...(this.#written && this.#whole !== undefined ? { whole_answer_hmac: this.#whole.done() } : {}),
      ...(calls.length === 0 ? {} : { tool_calls_hmac: commitment(this.#salt, canonicalJson(calls)) }),
      ...(this.egress === undefined ? {} : { egress_hmac: this.egress }),
    };
  }

  #input(): string | undefined {
    try {
      return commitment(this.#salt, inputText(this.#request));
    } catch (error) {
      // Nested so deep that it cannot be written as JSON: no runtime was asked with it either.
      if (error instanceof RangeError) return undefined;
      throw error;
    }
  }
}
