import { open } from "node:fs/promises";
import { sizeOf, type ModelSource } from "./model-source.ts";

export interface HttpSourceTimes {
  /** How long a server may take to begin its answer, milliseconds. */
  answerMs: number;
  /** How long it may send nothing in the middle, milliseconds. */
  stallMs: number;
}

const TIMES: HttpSourceTimes = { answerMs: 5_000, stallMs: 30_000 };

/** Hugging Face, or the mirror that `HF_ENDPOINT` names (the variable that its own tools read). */
export function huggingFaceSource(env: NodeJS.ProcessEnv, times: HttpSourceTimes = TIMES): ModelSource {
  const endpoint = (env["HF_ENDPOINT"] || "https://huggingface.co").replace(/\/+$/, "");
  return {
    name: new URL(endpoint).host,
    fetch(model, partPath, onBytes, signal) {
      const { repository, commit } = model.huggingFace;
      const url = `${endpoint}/${repository}/resolve/${commit}/${model.fileName}`;
      return download(url, model.sizeBytes, partPath, onBytes, times, signal);
    },
  };
}

async function download(
  url: string,
  sizeBytes: number,
  partPath: string,
  onBytes: (receivedBytes: number) => void,
  times: HttpSourceTimes,
  signal: AbortSignal | undefined,
): Promise<void> {
  const have = await sizeOf(partPath);
  // All there already (the check comes next), or too long to be the start of this file.
  if (have === sizeBytes) return;
  const from = have < sizeBytes ? have : 0;

  const watchdog = new AbortController();
  const bark = (message: string) => watchdog.abort(new Error(message));
  let timer = setTimeout(bark, times.answerMs, `no answer in ${String(times.answerMs / 1000)} s`);
  try {
    const response = await fetch(url, {
      headers: from > 0 ? { range: `bytes=${String(from)}-` } : {},
      signal: signal === undefined ? watchdog.signal : AbortSignal.any([signal, watchdog.signal]),
    });
    if (!response.ok || response.body === null) throw new Error(`HTTP ${String(response.status)}`);
    let received = response.status === 206 ? rangeStart(response.headers.get("content-range")) : 0;
    if (received !== 0 && received !== from) throw new Error("answered another range than the one asked for");
    const file = await open(partPath, received === 0 ? "w" : "a");
    try {
      for await (const chunk of response.body) {
        clearTimeout(timer);
        received += chunk.byteLength;
        if (received > sizeBytes) throw new Error("sends more than the file's size");
        await file.write(chunk);
        onBytes(received);
        timer = setTimeout(bark, times.stallMs, `nothing came for ${String(times.stallMs / 1000)} s`);
      }
    } finally {
      await file.close();
    }
    if (received < sizeBytes) throw new Error("ended early; the next try goes on from there");
  } catch (error) {
    if (watchdog.signal.aborted) throw watchdog.signal.reason;
    // fetch hides the cause ("fetch failed"): what matters is ENOTFOUND, ECONNREFUSED and the like.
    const cause = error instanceof Error ? error.cause : undefined;
    if (cause instanceof Error && "code" in cause)
      throw new Error(`not reachable (${String(cause.code)})`, { cause: error });
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

/** First byte of `bytes 5-9/10`; NaN when it cannot be read. */
function rangeStart(header: string | null): number {
  return Number(/^bytes (\d+)-/.exec(header ?? "")?.[1] ?? Number.NaN);
}
