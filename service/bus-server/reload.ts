import { rename, writeFile } from "node:fs/promises";
import { MeshError } from "../../bus-schemas/index.ts";
import type { GuardedServer } from "./guard.ts";

/** A reload takes a few milliseconds; a server that says nothing for so long does not reload, milliseconds. */
const RELOAD_LIMIT_MS = 5000;

const DONE = /Reloaded server configuration/;
const FAILED = /Failed to reload server configuration: (.*)/;

/** Makes a server read its configuration anew, one time after the other, and waits for its word on it in its log. */
export class ReloadWatch {
  #queue: Promise<unknown> = Promise.resolve();
  #heard: ((failure: string | undefined) => void) | undefined;

  /** Takes each line of the server's log. */
  onLog(line: string): void {
    if (DONE.test(line)) this.#heard?.(undefined);
    else if (FAILED.test(line)) this.#heard?.(FAILED.exec(line)?.[1] ?? "it does not say why");
  }

  /**
   * @param prepare writes what is to be read
   * @throws MeshError `bus_unavailable` when the server refuses the configuration or is gone
   */
  reload(server: GuardedServer, prepare: () => Promise<void>): Promise<void> {
    const next = this.#queue.then(async () => {
      await prepare();
      await this.#signal(server);
    });
    this.#queue = next.catch(() => undefined);
    return next;
  }

  async #signal(server: GuardedServer): Promise<void> {
    // There is no such signal on Windows: who keeps the server running starts it anew, with what `prepare` wrote.
    if (process.platform === "win32") return server.stop();
    const heard = Promise.withResolvers<string | undefined>();
    this.#heard = heard.resolve;
    const timer = setTimeout(() => heard.resolve("it did not answer"), RELOAD_LIMIT_MS);
    void server.exited.then(() => heard.resolve("it ended"));
    try {
      process.kill(server.pid, "SIGHUP");
      const failure = await heard.promise;
      if (failure !== undefined)
        throw new MeshError("bus_unavailable", `nats-server did not take its new configuration: ${failure}`);
    } catch (cause) {
      throw MeshError.from(cause, "bus_unavailable", "nats-server is gone");
    } finally {
      clearTimeout(timer);
      this.#heard = undefined;
    }
  }
}

/** Writes a file that is there whole or not at all, readable by its owner only. */
export async function replaceFile(file: string, text: string): Promise<void> {
  await writeFile(`${file}.new`, text, { mode: 0o600 });
  await rename(`${file}.new`, file);
}
