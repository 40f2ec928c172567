/** How many events of each type a process has made, and how many of them the stream has acknowledged to it. */
export class EventTally {
  /** Events of former processes, found in the spool. */
  leftOver = 0;
  readonly #counts: Record<string, { made: number; stored: number }> = {};

  made(type: string): void {
    (this.#counts[type] ??= { made: 0, stored: 0 }).made++;
  }

  stored(type: string): void {
    (this.#counts[type] ??= { made: 0, stored: 0 }).stored++;
  }

  /** As they are now. */
  get counts(): Record<string, { made: number; stored: number }> {
    return structuredClone(this.#counts);
  }
}
