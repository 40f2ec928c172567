import type { Layer } from "../bus-schemas/index.ts";
import type { Bus } from "../service/bus.ts";
import type { Lifecycle } from "../service/lifecycle.ts";
import { announceService } from "../service/micro.ts";

/** Makes the agent known to `nats micro ls` until it stops. */
export async function announceAgent(bus: Bus, nodeId: string, layer: Layer, lifecycle: Lifecycle): Promise<void> {
  const endpoints = [{ name: "run", subject: bus.subjects.runs("P2", nodeId) }];
  const about = { node_id: nodeId, layer };
  const service = await announceService(bus, "agent", "Runs jobs on this machine", endpoints, about);
  lifecycle.onClose("announcement", async () => void (await service.stop()));
}
