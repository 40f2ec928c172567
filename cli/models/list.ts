import type { NodeRecord, ServedModel } from "../../bus-schemas/index.ts";
import { MeshError } from "../../bus-schemas/index.ts";
import type { MeshClient } from "../../client/index.ts";
import { pause } from "../../service/loop.ts";
import { table } from "../format/table.ts";

/** Every node speaks once in this time, milliseconds: one heartbeat interval and its jitter. */
const ONE_ROUND_MS = 1200;

/** A model on a node, and what can be done with it there. */
export interface ListedModel extends ServedModel {
  node_id: string;
  manages: readonly string[];
}

/** The models of the mesh, or of one node. @throws MeshError `not_found` when that node sends no heartbeats */
export async function listModels(client: MeshClient, node: string | undefined): Promise<ListedModel[]> {
  client.nodes.list();
  await pause(ONE_ROUND_MS);
  const records = client.nodes.list().map(({ record }) => record);
  const wanted = records.filter((record) => node === undefined || record.node_id === node);
  if (node !== undefined && wanted.length === 0)
    throw new MeshError("not_found", `no node ${node} sends heartbeats; tiermesh nodes shows who is there`, {
      field: "node",
    });
  return wanted.flatMap(modelsOf);
}

function modelsOf(record: NodeRecord): ListedModel[] {
  const manages = new Map(record.runtimes.map((runtime) => [runtime.name, runtime.manages]));
  return record.served_models.map((model) => ({
    node_id: record.node_id,
    ...model,
    manages: manages.get(model.runtime) ?? [],
  }));
}

/** One line a model. */
export function formatModels(models: readonly ListedModel[]): string {
  const rows = models.map((model) => [
    model.node_id,
    model.name,
    model.runtime,
    model.loaded === null ? "?" : model.loaded ? "yes" : "no",
    model.context_length === null ? "?" : String(model.context_length),
    size(model.size_gb),
    size(model.vram_gb),
    model.capabilities.join(", ") || "?",
    model.manages.join(", ") || "-",
  ]);
  return table([["NODE", "MODEL", "RUNTIME", "LOADED", "CONTEXT", "SIZE", "VRAM", "CAN", "MANAGES"], ...rows]);
}

function size(gb: number | null): string {
  return gb === null ? "?" : `${gb.toFixed(1)} GB`;
}
