/** CPU time that one of our processes has used, microseconds, from its /metrics. */
export async function cpuUsOf(healthPort: number): Promise<number> {
  const response = await fetch(`http://127.0.0.1:${healthPort}/metrics`);
  const [, seconds] = /^process_cpu_seconds_total\{.*\} (\S+)/m.exec(await response.text()) ?? [];
  return Number(seconds) * 1e6;
}
