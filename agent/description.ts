import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { z } from "zod";
import { Label, LabelKey, LabelValue, MAX_LABELS, MeshError } from "../bus-schemas/index.ts";

const Saved = z.object({ name: Label.nullable(), labels: z.record(LabelKey, LabelValue) });
type Saved = z.infer<typeof Saved>;

/** What operators call this node, and their labels for it: in a file, and in each heartbeat. */
export class Description {
  readonly #file: string;
  #said: Saved;

  constructor(file: string) {
    this.#file = file;
    this.#said = load(file);
  }

  get name(): string | null {
    return this.#said.name;
  }

  get labels(): Readonly<Record<string, string>> {
    return this.#said.labels;
  }

  /**
   * @param name null takes it away, undefined leaves it
   * @param labels null takes one away, others stay
   * @throws MeshError `bad_request` when there would be too many labels
   */
  change({
    name,
    labels = {},
  }: {
    name?: string | null | undefined;
    labels?: Readonly<Record<string, string | null>> | undefined;
  }): void {
    const left = Object.entries({ ...this.#said.labels, ...labels }).filter(([, value]) => value !== null);
    if (left.length > MAX_LABELS)
      throw new MeshError("bad_request", `labels: a node has at most ${MAX_LABELS}`, { field: "labels" });
    const next = Saved.parse({ name: name === undefined ? this.#said.name : name, labels: Object.fromEntries(left) });
    writeFileSync(`${this.#file}.new`, JSON.stringify(next), { mode: 0o600 });
    renameSync(`${this.#file}.new`, this.#file);
    this.#said = next;
  }
}

function load(file: string): Saved {
  try {
    return Saved.parse(JSON.parse(readFileSync(file, "utf8")));
  } catch {
    // Absent at the first start; unreadable counts as nothing said.
    return { name: null, labels: {} };
  }
}
