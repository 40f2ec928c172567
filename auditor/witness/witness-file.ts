import { MeshError } from "../../bus-schemas/index.ts";
import { DISK } from "../tlog/files.ts";
import { readWitnessList, type WitnessAddress, type WitnessFiles } from "./witness-list.ts";

export interface WitnessFileOptions extends WitnessFiles {
  /** Told a new list. */
  onChange: (witnesses: readonly WitnessAddress[]) => void;
  /** Told once what is wrong with one, and null when the next is good. */
  onProblem: (problem: string | null) => void;
}

/** Takes up changes of the list of witnesses while the auditor runs. A list that is wrong, or gone, leaves the one before in its place. */
export class WitnessFile {
  readonly #options: WitnessFileOptions;
  #content: string | undefined;
  #problem: string | null = null;

  constructor(options: WitnessFileOptions) {
    this.#options = options;
  }

  /** What is wrong with the files as they are now; null for nothing. */
  get problem(): string | null {
    return this.#problem;
  }

  /** The first look. @throws MeshError `bad_config` naming the line, or the authority's file */
  async open(): Promise<readonly WitnessAddress[]> {
    const witnesses = await readWitnessList(this.#options);
    this.#content = await this.#read();
    return witnesses;
  }

  /** Looks whether they have changed. @throws the file system's errors */
  async look(): Promise<void> {
    const content = await this.#read();
    if (content === this.#content) return;
    const before = this.#content;
    this.#content = content;
    const { list, onChange } = this.#options;
    try {
      if (before !== undefined && (await DISK.read(list)) === undefined)
        throw new MeshError("bad_config", `${list} is gone: write an empty one to have no witnesses`);
      onChange(await readWitnessList(this.#options));
      this.#tell(null);
    } catch (error) {
      if (!(error instanceof MeshError)) throw error;
      this.#tell(error.message);
    }
  }

  #tell(problem: string | null): void {
    if (problem === this.#problem) return;
    this.#problem = problem;
    this.#options.onProblem(problem);
  }

  /** Both files as one text; undefined when neither is there. */
  async #read(): Promise<string | undefined> {
    const { ca, list } = this.#options;
    const parts = [await DISK.read(list), ca === undefined ? undefined : await DISK.read(ca)];
    return parts.every((part) => part === undefined)
      ? undefined
      : JSON.stringify(parts.map((part) => part?.toString()));
  }
}
