import type { CommandOutput, ProbeHost } from "../probe.ts";
import { askDetails, isOld, readAnswer, withDetails, type Details } from "./smi-once.ts";
import type { Smi } from "./smi.ts";
import { answersWithin, StepError, type NvidiaStep, type StepReading } from "./step.ts";

/** nvidia-smi writes a round of lines this often by itself, milliseconds. */
const LOOP_MS = 2000;
/** The lines of one round come together; after so long a pause the round is whole. Milliseconds. */
const ROUND_GAP_MS = 100;
/** Lines that nobody has taken yet: two rounds of the largest machine. */
const MAX_WAITING_LINES = 128;

/** One nvidia-smi that goes on by itself (`-lms`): the driver is opened once, not for every reading. */
export function smiStream(smi: Smi): NvidiaStep {
  let stream: Stream | undefined;
  let details: Details | undefined;

  const release = async () => {
    const ending = stream;
    stream = undefined;
    await ending?.stop();
  };

  /** What was written since the last reading. */
  const nextRound = async (host: ProbeHost, signal: AbortSignal): Promise<CommandOutput> => {
    for (;;) {
      stream ??= new Stream(smi, host);
      if (!(await answersWithin(stream.spoke(), smi.timeoutMs, signal))) {
        await release();
        throw new StepError("hung", `nvidia-smi -lms said nothing for ${smi.timeoutMs / 1000} s and was killed`);
      }
      await host.pause(ROUND_GAP_MS, signal);
      const { lines, result } = stream.take();
      if (result === undefined) return { code: 0, stdout: lines.join("\n"), stderr: "" };
      stream = undefined;
      if (result instanceof Error) throw result;
      if (!smi.learnFrom(result)) return { ...result, stdout: lines.join("\n") };
    }
  };

  return {
    name: "nvidia-smi -lms",
    release,
    async read(host, signal) {
      const reading = latest(readAnswer(await nextRound(host, signal), smi, host));
      if (details === undefined || isOld(details, host.nowMs())) {
        // Never two nvidia-smi at once: this one makes room for the others, and starts again at the next reading.
        await release();
        details = await askDetails(smi, host, reading.gpus, signal);
      }
      return withDetails(reading, details);
    },
  };
}

/** Several rounds may have been written since the last reading: each card as it was last. */
function latest({ gpus, problems }: StepReading): StepReading {
  return { gpus: [...new Map(gpus.map((gpu) => [gpu.uuid ?? gpu.index, gpu])).values()], problems };
}

/** One life of the program. */
class Stream {
  readonly #stop = new AbortController();
  readonly #ended: Promise<void>;
  #lines: string[] = [];
  #result: CommandOutput | Error | undefined;
  #onNews: () => void = () => undefined;

  constructor(smi: Smi, host: ProbeHost) {
    const args = [...smi.queryArgs, "-lms", String(LOOP_MS)];
    const run = smi.start(host, (program) =>
      host.follow(program, args, (line) => this.#onLine(line), this.#stop.signal),
    );
    this.#ended = run
      .then(
        (output) => (this.#result = output),
        (error: unknown) => (this.#result = error as Error),
      )
      .then(() => this.#onNews());
  }

  /** Fulfils when there is a line that nobody took yet, or the program has ended. */
  spoke(): Promise<void> {
    if (this.#lines.length > 0 || this.#result !== undefined) return Promise.resolve();
    return new Promise((resolve) => (this.#onNews = resolve));
  }

  take() {
    const lines = this.#lines;
    this.#lines = [];
    return { lines, result: this.#result };
  }

  stop(): Promise<void> {
    this.#stop.abort();
    return this.#ended;
  }

  #onLine(line: string): void {
    if (line.trim() === "") return;
    this.#lines.push(line);
    if (this.#lines.length > MAX_WAITING_LINES) this.#lines.shift();
    this.#onNews();
  }
}
