import type { MeshClient } from "../../client/index.ts";
import { pause } from "../../service/loop.ts";

/** Routers answer within this time, milliseconds. */
const ANSWER_LIMIT_MS = 300;

/** A router and the policy that it decides by. */
export interface RouterPolicy {
  router_id: string;
  policy: string;
}

/** Asks every router of the cell that runs, as `nats micro ping tiermesh-router` does. */
export async function routerPolicies({ bus }: MeshClient): Promise<RouterPolicy[]> {
  const found: RouterPolicy[] = [];
  const options = { strategy: "timer" as const, maxWait: ANSWER_LIMIT_MS };
  try {
    for await (const reply of await bus.nc.requestMany("$SRV.PING.tiermesh-router", "", options)) {
      const { metadata = {} } = reply.json<{ metadata?: Record<string, string> }>();
      if (metadata["prefix"] !== bus.subjects.prefix) continue;
      found.push({ router_id: metadata["router_id"] ?? "?", policy: metadata["policy"] ?? "?" });
    }
  } catch {
    // Nobody listens: no router runs.
  }
  return found.toSorted((a, b) => a.router_id.localeCompare(b.router_id));
}

/** Waits until every router decides by `policy`, or `limitMs` passes. */
export async function routersOn(client: MeshClient, policy: string, limitMs: number): Promise<RouterPolicy[]> {
  const deadlineMs = performance.now() + limitMs;
  for (;;) {
    const routers = await routerPolicies(client);
    if (routers.every((router) => router.policy === policy) || performance.now() > deadlineMs) return routers;
    await pause(100);
  }
}
