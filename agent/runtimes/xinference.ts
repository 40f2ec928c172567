import { networkInterfaces } from "node:os";
import { capabilitiesOf } from "./capabilities.ts";
import type { FoundModel, RuntimeKind } from "./kind.ts";
import { asArray, asCount, asObjects, asText } from "./openai-chunk.ts";
import type { Probe } from "./probe.ts";

/** The types of models that jobs are for; image, audio, video and "flexible" ones are served by paths of their own. */
const TYPES = new Set(["LLM", "embedding", "rerank"]);

/**
 * Xinference (xorbitsai/inference, xinference/api/restful_api.py and routers/admin.py): /v1/models lists what was launched, each
 * with `owned_by: "xinference"`, `model_type`, `model_ability`, `context_length` or `max_tokens`, `replica` and the `address` of its
 * worker; /v1/cluster/version has `version` and `full-revisionid`; /v1/cluster/info has the `ip_address` of each worker. It is a
 * cluster of its own: what a worker on another machine runs is no local model, and is left out.
 * Slots: the API does not tell how many jobs an engine batches; one for each replica.
 */
export const xinference: RuntimeKind = {
  kind: "xinference",
  alivePath: "/v1/cluster/version",
  defaultPorts: [9997],
  onePerMachine: true,
  manageByHand: "use xinference launch and xinference terminate",
  tasks: ["completion", "embedding", "rerank"],
  async find(probe, signal) {
    const about = await probe.object("/v1/cluster/version", signal);
    const version = asText(about?.["version"]);
    if (about === undefined || version === undefined || !("full-revisionid" in about)) return undefined;
    const list = await probe.openAiModels(signal);
    if (list === undefined || !list.every((model) => model["owned_by"] === "xinference")) return undefined;
    const allHere = await onlyLocalWorkers(probe, signal);
    const local = list.filter((model) => TYPES.has(asText(model["model_type"]) ?? "") && runsHere(model, allHere));
    const replicas = local.reduce((sum, model) => sum + replicasOf(model), 0);
    return { version, healthy: true, slots: Math.max(1, replicas), models: local.flatMap(describe) };
  },
};

function replicasOf(model: Record<string, unknown>): number {
  return Math.max(1, asCount(model["replica"]) ?? 1);
}

/** The list names the worker of one replica only: the others may be anywhere, unless all workers are on this machine. */
function runsHere(model: Record<string, unknown>, allHere: boolean): boolean {
  return isOurs(hostOf(asText(model["address"]))) && (allHere || replicasOf(model) === 1);
}

/** False also where it does not say, as with authentication on. */
async function onlyLocalWorkers(probe: Probe, signal: AbortSignal): Promise<boolean> {
  const answer = await probe.extra("/v1/cluster/info", signal);
  const workers = asObjects(answer?.json).filter((device) => device["node_type"] === "Worker");
  return workers.length > 0 && workers.every((worker) => isOurs(asText(worker["ip_address"])));
}

/** `127.0.0.1:43871` → `127.0.0.1` */
function hostOf(address: string | undefined): string | undefined {
  return address?.replace(/:\d+$/, "").replace(/^\[|\]$/g, "");
}

/** An address of this machine; 0.0.0.0 is how a worker that listens everywhere names itself. */
function isOurs(host: string | undefined): boolean {
  if (host === undefined) return false;
  if (/^127(\.\d+){3}$/.test(host) || ["::1", "localhost", "0.0.0.0"].includes(host)) return true;
  return Object.values(networkInterfaces()).some((cards) => cards?.some(({ address }) => address === host));
}

function describe(model: Record<string, unknown>): FoundModel[] {
  const name = asText(model["id"]);
  if (name === undefined) return [];
  const type = asText(model["model_type"]);
  const facts = [...(type === "LLM" ? [] : [type]), ...asArray(model["model_ability"])].filter(
    (word) => typeof word === "string",
  );
  return [
    {
      name,
      // What is listed was launched.
      loaded: true,
      contextLengthTokens: asCount(model["context_length"]) ?? asCount(model["max_tokens"]) ?? null,
      capabilities: capabilitiesOf(asText(model["model_name"]) ?? name, facts),
      sizeBytes: null,
    },
  ];
}
