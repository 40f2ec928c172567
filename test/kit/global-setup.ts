import { obtainNatsServer } from "../../service/bus-server/index.ts";

/**
 * Runs once before the integration tests: on a fresh machine it fetches the nats-server here, where a minute of compiling
 * is no test's time limit. The tests then find it in the cache.
 */
export async function setup(): Promise<void> {
  if (process.env["TIERMESH_TEST_BUS"] === "docker") return;
  await obtainNatsServer({ onProgress: (line) => process.stdout.write(`${line}\n`) });
}
