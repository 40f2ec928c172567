import type { MeshClient, NodeWatcher } from "../client/index.ts";

/** What the gateway uses of a MeshClient; tests hand in their own. */
export interface Mesh extends Pick<MeshClient, "submit" | "stream" | "decide" | "receipt"> {
  readonly nodes: Pick<NodeWatcher, "list">;
}

/** Whether the way to the nodes is open, as far as the gateway can see (mesh-watch.ts). */
export interface MeshState {
  busConnected: boolean;
  /** Routers that answered lately. */
  routers: number;
}
