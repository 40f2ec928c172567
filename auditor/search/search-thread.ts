/** Entry of the auditor's search thread: keeps the index up with the log, and answers questions, so that no search holds up the record. */
import { parentPort, workerData } from "node:worker_threads";
import { ENDING_TYPES, MeshError } from "../../bus-schemas/index.ts";
import { startLoop } from "../../service/loop.ts";
import { StorageKeys } from "../at-rest/storage-keys.ts";
import type { Gap } from "./gap.ts";
import { GapFinder } from "./gaps.ts";
import { LiveIndex } from "./live-index.ts";
import type { FromSearch, SearchAnswers, SearchConfig, SearchQuestion, ToSearch } from "./messages.ts";
import { search } from "./search.ts";
import type { SearchIndex } from "./search-index.ts";
import { statsOf } from "./stats.ts";

const port = parentPort;
if (port === null) throw new MeshError("internal", "search-thread.ts runs as a thread of the auditor");
const { folder, everyMs, storageKeys } = workerData as SearchConfig;
const live = new LiveIndex(folder, new StorageKeys(storageKeys));
const post = (message: FromSearch) => port.postMessage(message);
let finder: { index: SearchIndex; gaps: GapFinder } | undefined;
let problem: string | null = "the search index is not there yet";

startLoop({ name: "search index", everyMs, onError: failed }, async (signal) => {
  await live.follow(signal);
  problem = null;
  tell();
});
port.on("message", ({ id, question }: ToSearch) => {
  try {
    if (live.index === undefined) throw new MeshError("audit_unavailable", problem ?? "the search index is being made");
    post({ type: "answer", id, answer: answer(live.index, question) });
  } catch (error) {
    if (isOfDatabase(error)) failed(error);
    post({ type: "failed", id, error: MeshError.from(error, "internal", "the search failed").toWire() });
  }
});

function answer(index: SearchIndex, question: SearchQuestion): SearchAnswers[keyof SearchAnswers] {
  if (question.kind === "query") return search(index, live.log, question.query);
  if (question.kind === "gaps") return findGaps(index, question.nowMs, question.steadyMs);
  if (question.kind === "stats") return statsOf(index, question.about);
  const last = ENDING_TYPES.map((type) => index.select({ job_id: question.jobId, type, limit: 1 })[0] ?? 0);
  return Math.max(...last);
}

function findGaps(index: SearchIndex, nowMs: number, steadyMs: number): Gap[] {
  // An index that was made anew is looked through anew.
  if (finder?.index !== index) finder = { index, gaps: new GapFinder(index, live.log) };
  return finder.gaps.find(nowMs, steadyMs);
}

function failed(error: unknown): void {
  problem = `the search index does not go on: ${error instanceof Error ? error.message.slice(0, 200) : "unknown"}`;
  if (isOfDatabase(error)) live.beginAnew();
  tell();
}

function tell(): void {
  post({ type: "state", indexed: live.index?.log.last ?? 0, problem });
}

function isOfDatabase(error: unknown): boolean {
  return (error as { code?: unknown } | null)?.code === "ERR_SQLITE_ERROR";
}
