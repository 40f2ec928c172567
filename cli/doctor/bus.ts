import { MeshError } from "../../bus-schemas/index.ts";
import { connectBus } from "../../service/bus.ts";
import { obtainNatsServer } from "../../service/bus-server/index.ts";
import { SOURCES } from "../../service/bus-server/sources/index.ts";
import { createLog } from "../../service/log.ts";
import { busAddress, readMeshFile } from "../mesh-file.ts";
import type { Check } from "./check.ts";

const quiet = createLog("doctor", "silent");

/** Only looks: nothing is fetched. */
export const natsServer: Check = {
  name: "nats-server",
  check: async (env) => {
    const external = env["TIERMESH_NATS_URL"];
    if (external !== undefined && external !== "")
      return { level: "ok", says: "TIERMESH_NATS_URL names a bus; no nats-server of our own is needed" };
    try {
      const server = await obtainNatsServer({ env, sources: SOURCES.filter((source) => source.kind === "look") });
      return { level: "ok", says: `${server.version} at ${server.path} (${server.source})` };
    } catch {
      return {
        level: "warn",
        says: "none on this machine yet",
        todo: "`npm start` fetches one; or put nats-server on the PATH, or set NATS_SERVER to its path",
      };
    }
  },
};

export const bus: Check = {
  name: "bus",
  check: async (env) => {
    let address;
    try {
      address = busAddress(env);
    } catch {
      return { level: "fail", says: "no mesh runs on this machine", todo: "start one with `npm start`" };
    }
    try {
      const { nc, drain } = await connectBus("doctor", address, quiet, { timeoutMs: 2000 });
      const startedAtMs = performance.now();
      await nc.flush();
      const says = `answers in ${(performance.now() - startedAtMs).toFixed(1)} ms, nats-server ${nc.info?.version ?? "?"}`;
      const jetstream = nc.info?.jetstream === true;
      await drain();
      return jetstream
        ? { level: "ok", says }
        : {
            level: "fail",
            says: `${says}, without JetStream`,
            todo: "start nats-server with JetStream (-js): the audit stream needs it",
          };
    } catch (error) {
      return {
        level: "fail",
        says: error instanceof MeshError ? error.message : "the bus does not answer",
        todo: `see ${readMeshFile(env)?.state_dir ?? "the state folder"}/logs; start again with \`npm start\``,
      };
    }
  },
};
