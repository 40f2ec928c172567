import type { EventData } from "../../bus-schemas/index.ts";
import type { Log } from "../../service/log.ts";
import { startLoop, type Loop } from "../../service/loop.ts";
import type { Metrics } from "../../service/metrics.ts";
import { textOf } from "../tlog/note.ts";
import { askWitness, type Asked, type Submission } from "./ask.ts";
import type { WitnessAddress } from "./witness-list.ts";

/** How often it is looked whether there is something to cosign, milliseconds. */
const LOOK_MS = 500;
/** A witness that is away is asked again after this time, milliseconds; it doubles up to the limit. */
const AGAIN_MS = { first: 1000, limit: 60_000 };

/** What is needed of the log. */
export interface CosignedLog {
  size: number;
  checkpoint(): Promise<Buffer>;
  consistency(oldSize: number, size: number): Uint8Array[];
  cosign(text: string, lines: readonly string[]): Promise<void>;
}

export interface CosignerOptions {
  witnesses: readonly WitnessAddress[];
  /** The log while it is this auditor's turn to write it; undefined otherwise. */
  log: () => CosignedLog | undefined;
  metrics: Metrics;
  processLog: Log;
  /** Told each change of a witness's state. */
  onChange: (change: EventData<"witness_changed">) => void;
}

/** What is known of a witness. */
interface Standing {
  size: number;
  state: EventData<"witness_changed">["state"] | "unknown";
  waitMs: number;
  askAtMs: number;
}

/** Has witnesses cosign the newest checkpoint, beside the log: it never waits for them. */
export class Cosigner {
  readonly #options: CosignerOptions;
  #witnesses: readonly WitnessAddress[] = [];
  #standing: ReadonlyMap<string, Standing> = new Map();

  constructor(options: CosignerOptions) {
    const { log, metrics, witnesses } = options;
    this.#options = options;
    this.use(witnesses);
    const behind = metrics.gauge("audit_witness_behind_entries", "Entries that a witness has not cosigned", [
      "witness",
    ]);
    Object.assign(behind, {
      collect: () => {
        const size = log()?.size;
        behind.reset();
        for (const [witness, standing] of this.#standing)
          if (size !== undefined) behind.set({ witness }, Math.max(0, size - standing.size));
      },
    });
  }

  /** Of each witness: what it has cosigned for this auditor, and how it stands. */
  get health(): Record<string, { state: string; cosigned_size: number }> {
    return Object.fromEntries(
      Array.from(this.#standing, ([name, { size, state }]) => [name, { state, cosigned_size: size }]),
    );
  }

  /** Takes another list: what is known of a witness that stays is kept. */
  use(witnesses: readonly WitnessAddress[]): void {
    const before = new Map(this.#witnesses.map((witness) => [witness.name, witness]));
    const standings = witnesses.map(({ name, key, url }): [string, Standing] => {
      const known = before.get(name);
      const stays = known?.key.keyId === key.keyId && known.url === url;
      const standing = stays ? this.#standing.get(name) : undefined;
      return [name, standing ?? { size: 0, state: "unknown", waitMs: AGAIN_MS.first, askAtMs: 0 }];
    });
    this.#witnesses = witnesses;
    this.#standing = new Map(standings);
  }

  start(): Loop {
    const { processLog } = this.#options;
    const onError = (error: unknown) => processLog.warn({ err: error }, "cosignatures could not be written down");
    return startLoop({ name: "cosigner", everyMs: LOOK_MS, onError }, (signal) => this.#round(signal));
  }

  async #round(signal: AbortSignal): Promise<void> {
    const log = this.#options.log();
    const nowMs = performance.now();
    const { size } = log ?? { size: 0 };
    // Whoever leaves the list meanwhile is asked to the end.
    const due = this.#witnesses.flatMap((witness) => {
      const standing = this.#standing.get(witness.name);
      return standing !== undefined && standing.size < size && standing.askAtMs <= nowMs ? [{ witness, standing }] : [];
    });
    if (log === undefined || due.length === 0) return;
    const bytes = await log.checkpoint();
    const text = textOf(bytes);
    const signedSize = Number(text.split("\n")[1]);
    const note = bytes.toString();
    const submission: Submission = { note, size: signedSize, consistency: (old, now) => log.consistency(old, now) };
    const lines: string[] = [];
    await Promise.all(
      due.map(async ({ standing, witness }) => {
        const asked = await askWitness(witness, submission, standing.size, signal);
        if (signal.aborted) return;
        this.#note(witness.name, standing, asked, signedSize);
        if (asked.state !== "cosigned") return;
        // Each as it comes: one that hangs must not keep back the others.
        lines.push(asked.line);
        await log.cosign(text, [note.slice(text.length + 1), ...lines]);
      }),
    );
  }

  #note(name: string, standing: Standing, asked: Asked, size: number): void {
    const good = asked.state === "cosigned";
    const state = good ? "cosigns" : asked.state === "refused" ? "refuses" : "behind";
    if (good) standing.size = size;
    standing.waitMs = good ? AGAIN_MS.first : Math.min(standing.waitMs * 2, AGAIN_MS.limit);
    standing.askAtMs = good ? 0 : performance.now() + standing.waitMs;
    if (standing.state === state) return;
    standing.state = state;
    const reason = good ? null : asked.reason.slice(0, 200);
    this.#options.processLog[good ? "info" : "warn"]({ witness: name, state, reason }, "a witness of the audit log");
    this.#options.onChange({ witness: name, state, reason, tree_size: size, cosigned_size: standing.size });
  }
}
