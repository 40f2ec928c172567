import { MeshClient } from "../../client/index.ts";
import { createLog } from "../../service/log.ts";
import { queryAudit } from "../audit-client.ts";
import { busAddress } from "../mesh-file.ts";
import type { Check, Finding } from "./check.ts";

/** A node is heard within this time if it is there, milliseconds. */
const ONE_ROUND_MS = 2500;

/** Runs `body` with a client, or says why there is none. */
async function onMesh(env: NodeJS.ProcessEnv, body: (client: MeshClient) => Promise<Finding>): Promise<Finding> {
  let client: MeshClient;
  try {
    client = await MeshClient.connect({ ...busAddress(env), name: "doctor", log: createLog("doctor", "silent") });
  } catch {
    return { level: "fail", says: "cannot be asked without a bus" };
  }
  try {
    return await body(client);
  } finally {
    await client.close();
  }
}

export const router: Check = {
  name: "router",
  check: (env) =>
    onMesh(env, async (client) => {
      try {
        const startedAtMs = performance.now();
        const decision = await client.decide({ task_type: "chat", security_level: "P0" });
        const says = `answers in ${(performance.now() - startedAtMs).toFixed(1)} ms; ${decision.reason}`;
        return decision.outcome === "routed"
          ? { level: "ok", says }
          : { level: "fail", says, todo: "see `tiermesh nodes`: a P0 job needs a local node with a model" };
      } catch (error) {
        return {
          level: "fail",
          says: error instanceof Error ? error.message : "does not answer",
          todo: "`tiermesh status` shows whether it runs",
        };
      }
    }),
};

export const models: Check = {
  name: "models",
  check: (env) =>
    onMesh(env, async (client) => {
      const heard = await client.nodes.ready(() => true, AbortSignal.timeout(ONE_ROUND_MS)).catch(() => undefined);
      if (heard === undefined)
        return {
          level: "fail",
          says: "no node sends heartbeats",
          todo: "start an agent: `npm start` here, or `tiermesh up` on the other machine",
        };
      const nodes = client.nodes.list();
      const real = nodes.flatMap(({ record }) =>
        record.served_models.filter(
          (model) => !record.runtimes.some(({ name, diagnostic }) => diagnostic && name === model.runtime),
        ),
      );
      if (real.length > 0)
        return {
          level: "ok",
          says: `${real.length} on ${nodes.length} node${nodes.length === 1 ? "" : "s"}: ${[...new Set(real.map(({ name }) => name))].join(", ")}`,
        };
      return {
        level: "warn",
        says: "no real model; jobs are answered by the diagnostic echo or refused",
        todo: "start Ollama, llama-server, vLLM or LM Studio on this machine, or set TIERMESH_MODEL_PATH to a .gguf file",
      };
    }),
};

export const auditor: Check = {
  name: "auditor",
  check: (env) =>
    onMesh(env, async (client) => {
      try {
        const page = await queryAudit(client, { limit: 1 });
        const says = `the log holds ${page.next} entries`;
        const { record_path: way } = page;
        if (way === undefined) return { level: "ok", says };
        if (!way.ok)
          return {
            level: "fail",
            says: `${says}, but new events do not come into it: ${way.problem ?? "unknown"}`,
            todo: "look at the bus (space, permissions) and the auditor's log; P0 and P1 jobs do not run while the stream refuses",
          };
        const age = way.last_logged_ms;
        return {
          level: "ok",
          says: age === null ? says : `${says}; an event came through ${Math.round(age / 1000)} s ago`,
        };
      } catch (error) {
        return {
          level: "fail",
          says: error instanceof Error ? error.message : "does not answer",
          todo: "`tiermesh status` shows whether it runs; P0 and P1 jobs still run while the stream takes events",
        };
      }
    }),
};
