import { existsSync } from "node:fs";
import { tryLock } from "../../service/file-lock.ts";
import { runProcess } from "../../service/lifecycle.ts";
import { createLog } from "../../service/log.ts";
import { announceReady } from "../../service/ready.ts";
import { parsePrivateKey } from "../../auditor/tlog/keys.ts";
import { serveWitness } from "../../auditor/witness/server.ts";
import { Witness } from "../../auditor/witness/witness.ts";
import { MeshError } from "../../bus-schemas/index.ts";
import { readGiven, readKey } from "../audit/log-folder.ts";
import { note } from "../format/terminal.ts";
import { recordFolder } from "./key.ts";

export interface WitnessFlags {
  key: string;
  log: string[];
  listen: { host: string; port: number };
  json?: boolean;
}

/** Runs a witness until it is told to stop. @throws MeshError `bad_config`, `bad_request` or `conflict` before it serves */
export async function witness({ json, key, listen, log: logFiles }: WitnessFlags): Promise<void> {
  const folder = recordFolder(key);
  const signer = keyOf(key);
  const logs = logFiles.map(readKey);
  if (!existsSync(folder))
    throw new MeshError(
      "bad_config",
      `${folder} is gone: without its record this witness could cosign another history. Restore it, or make a new key`,
    );
  const lock = await tryLock(`${folder}/lock`);
  if ("heldBy" in lock) throw new MeshError("conflict", `process ${lock.heldBy.pid} is this witness already`);
  const log = createLog("witness");
  const onRefused = (what: object) => log.error(what, "refused to cosign: this log does not go on from what it was");
  const server = await Witness.open({ signer, logs, folder, onRefused })
    .then((opened) => serveWitness(opened, listen))
    .catch(async (error: unknown) => {
      await lock.release();
      if ((error as NodeJS.ErrnoException).syscall !== "listen") throw error;
      throw new MeshError("bad_config", `${listen.host}:${listen.port} cannot be listened on`, { cause: error });
    });
  runProcess(log, (lifecycle) => {
    lifecycle.onClose("lock", () => lock.release());
    lifecycle.onClose("server", () => server.close());
    announceReady("witness", { name: signer.name, host: server.host, port: server.port });
    if (json !== true) note(`${signer.name} cosigns ${logs.map(({ name }) => name).join(", ")}; Ctrl-C stops it`);
    return Promise.resolve();
  });
}

function keyOf(file: string) {
  try {
    return parsePrivateKey(readGiven(file).toString());
  } catch (error) {
    const { code, message } = MeshError.from(error);
    throw code === "bad_config" ? new MeshError(code, `${file}: ${message}`) : error;
  }
}
