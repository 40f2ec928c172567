/** What happened, line by line: always as a hash, and as text where someone wants to read it. */
export class Trace {
  readonly lines: string[] | undefined;
  #a = 2166136261;
  #b = 0x9e3779b9;
  #count = 0;

  /** @param kept whether the lines themselves are kept */
  constructor(kept: boolean) {
    this.lines = kept ? [] : undefined;
  }

  /** @param atMs virtual time */
  add(atMs: number, who: string, what: string): void {
    const line = `${atMs.toFixed(3)} ${who} ${what}`;
    let [a, b] = [this.#a, this.#b];
    for (let i = 0; i < line.length; i++) {
      const code = line.charCodeAt(i);
      a = Math.imul(a ^ code, 16777619);
      b = Math.imul(b + code, 0x85ebca6b) ^ (b >>> 13);
    }
    [this.#a, this.#b] = [a, b];
    this.#count++;
    this.lines?.push(line);
  }

  get count(): number {
    return this.#count;
  }

  /** 16 hexadecimal digits. */
  get hash(): string {
    return [this.#a, this.#b].map((word) => (word >>> 0).toString(16).padStart(8, "0")).join("");
  }
}
