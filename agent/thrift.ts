/**
 * How a process of the agent is started so that it takes little memory for as long as it only waits: small spaces for what is young,
 * nothing compiled before it is called. Whoever starts one gives it these; deploy/systemd spells them out. What they save:
 * docs/performance.md. V8's helpers in other threads are done without: with a heap kept so tight, one that compiles may wait at the
 * end for a collection that the main thread, which waits for it, never makes (seen with Node 24.21: the process never ended).
 */
export const THRIFTY_FLAGS = [
  "--max-semi-space-size=1",
  "--optimize-for-size",
  "--max-lazy",
  "--single-threaded",
] as const;

/** For glibc: one arena for all threads, and what was freed at the top of it goes back at once. Elsewhere it means nothing. */
export const THRIFTY_ENV = { MALLOC_ARENA_MAX: "1", MALLOC_TRIM_THRESHOLD_: "65536" } as const;
