import { type FSWatcher, watch } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { connect } from "node:net";
import path from "node:path";
import { MeshError } from "../../bus-schemas/index.ts";

/** Where a server listens, from its ports file: `nats://127.0.0.1:4222` and the like, per kind of listener. */
export interface ServerPorts {
  nats?: string[];
  monitoring?: string[];
  cluster?: string[];
}

/** A safety net where file events do not come (some network folders), milliseconds. */
const LOOK_EVERY_MS = 250;

/**
 * Waits for the ports file that nats-server writes once all its listeners are bound
 * (`<program>_<pid>.ports` in `ports_file_dir`).
 */
export function portsOf(folder: string, pid: number, signal: AbortSignal): Promise<ServerPorts> {
  return new Promise((resolve, reject) => {
    let watcher: FSWatcher | undefined;
    const timer = setInterval(look, LOOK_EVERY_MS);
    const abort = () => finish(() => reject(signal.reason));
    let done = false;
    function finish(settle: () => void) {
      if (done) return;
      done = true;
      clearInterval(timer);
      watcher?.close();
      signal.removeEventListener("abort", abort);
      settle();
    }
    function look() {
      readPorts(folder, pid).then(
        (ports) => {
          if (ports !== undefined) finish(() => resolve(ports));
        },
        (error: unknown) => finish(() => reject(error)),
      );
    }
    if (signal.aborted) return abort();
    signal.addEventListener("abort", abort, { once: true });
    watcher = watch(folder, look).on("error", () => {});
    look();
  });
}

async function readPorts(folder: string, pid: number): Promise<ServerPorts | undefined> {
  const name = (await readdir(folder)).find((entry) => entry.endsWith(`_${pid}.ports`));
  if (name === undefined) return undefined;
  const text = await readFile(path.join(folder, name), "utf8").catch(() => "");
  try {
    return JSON.parse(text) as ServerPorts;
  } catch {
    return undefined; // half written; its next change or the next look gets the rest
  }
}

/** Connects and waits for the INFO line with which a NATS server greets: the proof that it really answers. */
export function infoOf(host: string, port: number, signal: AbortSignal): Promise<{ version: string }> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, signal });
    let text = "";
    socket.setEncoding("utf8").on("data", (chunk: string) => {
      text += chunk;
      const line = /^INFO (\{.*\})\s*\r?\n/.exec(text)?.[1];
      if (line === undefined) return;
      socket.destroy();
      const info = JSON.parse(line) as { version?: string };
      resolve({ version: info.version ?? "" });
    });
    socket.on("error", reject);
    socket.on("close", () =>
      reject(new MeshError("bus_unavailable", `what listens on port ${port} is not a NATS server`)),
    );
  });
}
