import path from "node:path";
import { Broker } from "../../cli/bus/broker.ts";
import { checkBusSettings } from "../../cli/bus/bus-settings.ts";
import { newUserNkey, type UserNkey } from "../../service/access/nkey-file.ts";
import type { BusAddress } from "../../service/bus.ts";
import { createLog } from "../../service/log.ts";
import { NODES } from "./hostile-jobs.ts";
import { tempDir } from "./temp-dir.ts";
import type { Member } from "./walled-mesh.ts";

/** The broker as the product runs it, with its permissions, which knows the nodes `home` on L0 and `cloud` on L2. */
export interface GuardedBus extends AsyncDisposable {
  port: number;
  keys: Record<(typeof NODES)[keyof typeof NODES], UserNkey>;
  addressOf(member: Member | "client" | "operator" | "keeper"): BusAddress;
}

export async function startGuardedBus(): Promise<GuardedBus> {
  const folder = tempDir("tiermesh-guarded-");
  const keys = { [NODES.home]: newUserNkey(), [NODES.cloud]: newUserNkey() };
  const broker = await Broker.start(
    {
      env: process.env,
      folder: folder.path,
      settings: checkBusSettings({ port: 0 }, "test"),
      locals: [
        { nodeId: NODES.home, layer: "L0", publicKey: keys.home.publicKey },
        { nodeId: NODES.cloud, layer: "L2", publicKey: keys.cloud.publicKey },
      ],
      routingConfig: path.join(import.meta.dirname, "..", "..", "deploy", "routing.yaml"),
      log: createLog("test", "silent"),
      say: () => undefined,
    },
    AbortSignal.timeout(60_000),
  );
  return {
    port: broker.server.port,
    keys,
    addressOf: (member) =>
      member === "router" || member === "client" || member === "operator" || member === "keeper"
        ? broker.addressOf(member)
        : { url: broker.addressOf("router").url, nkey: keys[member] },
    [Symbol.asyncDispose]: async () => {
      await broker.stop();
      await folder.remove();
    },
  };
}
