/** Tells the supervisor, by one JSON line on standard output, that this process serves. */
export function announceReady(process_: string, facts: Record<string, unknown>): void {
  process.stdout.write(`${JSON.stringify({ ready: true, process: process_, pid: process.pid, ...facts })}\n`);
}
