import { Worker } from "node:worker_threads";
import { MeshError } from "../../bus-schemas/index.ts";
import type { Log } from "../../service/log.ts";
import { pause } from "../../service/loop.ts";
import { NO_KEYS } from "../at-rest/storage-keys.ts";
import type { FromSearch, SearchAnswers, SearchConfig, SearchQuestion, ToSearch } from "./messages.ts";

/** A question is answered within this time, milliseconds: those who ask wait no longer. */
const ANSWER_LIMIT_MS = 10_000;
/** How often the thread looks for new entries, milliseconds: they are searchable so much later than their checkpoint. */
const FOLLOW_EVERY_MS = 250;
/** A thread that ended is started again after this time, milliseconds. */
const RESTART_AFTER_MS = 1000;

/** Where the auditor's main thread asks its search thread. */
export class SearchDesk {
  readonly #config: SearchConfig;
  readonly #log: Log;
  readonly #open = new Map<number, PromiseWithResolvers<SearchAnswers[keyof SearchAnswers]>>();
  readonly #stopped = new AbortController();
  #worker: Worker;
  #count = 0;
  #state: { indexed: number; problem: string | null } = { indexed: 0, problem: "starting" };

  /** @param folder the auditor's */
  constructor(folder: string, log: Log, keys = NO_KEYS, everyMs = FOLLOW_EVERY_MS) {
    this.#config = { folder, everyMs, storageKeys: keys.texts };
    this.#log = log;
    this.#worker = this.#start();
  }

  /** How far the index is, and why it does not go on. */
  get state(): { indexed: number; problem: string | null } {
    return this.#state;
  }

  /** @throws MeshError `audit_unavailable` while there is no index; what the search throws */
  async ask<K extends SearchQuestion["kind"]>(question: SearchQuestion & { kind: K }): Promise<SearchAnswers[K]> {
    const id = this.#count++;
    const answer = Promise.withResolvers<SearchAnswers[keyof SearchAnswers]>();
    this.#open.set(id, answer);
    const timer = setTimeout(
      () =>
        answer.reject(new MeshError("audit_unavailable", "the search takes too long; narrow the time or the filters")),
      ANSWER_LIMIT_MS,
    );
    try {
      this.#worker.postMessage({ id, question } satisfies ToSearch);
      return (await answer.promise) as SearchAnswers[K];
    } finally {
      clearTimeout(timer);
      this.#open.delete(id);
    }
  }

  async close(): Promise<void> {
    this.#stopped.abort();
    await this.#worker.terminate();
  }

  #start(): Worker {
    const worker = new Worker(new URL("search-thread.ts", import.meta.url), { workerData: this.#config });
    worker.on("message", (message: FromSearch) => this.#onMessage(message));
    worker.on("error", (error) => this.#log.error({ err: error }, "the search thread crashed"));
    worker.on("exit", () => void this.#again());
    return worker;
  }

  #onMessage(message: FromSearch): void {
    if (message.type === "answer") this.#open.get(message.id)?.resolve(message.answer);
    else if (message.type === "failed") this.#open.get(message.id)?.reject(MeshError.fromWire(message.error));
    else {
      if (message.problem !== null && message.problem !== this.#state.problem) this.#log.warn(message.problem);
      this.#state = { indexed: message.indexed, problem: message.problem };
    }
  }

  async #again(): Promise<void> {
    for (const { reject } of this.#open.values())
      reject(new MeshError("audit_unavailable", "the search thread ended; ask again", { retryAfterMs: 2000 }));
    this.#state = { ...this.#state, problem: "the search thread ended" };
    await pause(RESTART_AFTER_MS, this.#stopped.signal);
    if (!this.#stopped.signal.aborted) this.#worker = this.#start();
  }
}
