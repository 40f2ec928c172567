import type { DataClass, ToolChoice } from "../../bus-schemas/index.ts";
import type { RouteRequest } from "./types.ts";

const WECHAT: ToolChoice = {
  tool: "mcp_wechat_local",
  data_residency: "local_only",
  reason: "chat records of class P0 and P1 stay local",
};
const MODEL: Record<DataClass, ToolChoice> = {
  P0: { tool: "model", data_residency: "local_only", reason: "P0 stays on L0 and L1" },
  P1: { tool: "model", data_residency: "local_first", reason: "P1 leaves only anonymised" },
  P2: { tool: "model", data_residency: "any", reason: "P2 has no residency" },
};

/**
 * Level one (SEED 一级路由): which tool or data source a task uses, and where its data may live. SEED's
 * `route_wechat_access`: enterprise chat records of class P0 or P1 are read by the local MCP tool and stay local, even
 * anonymised; of class P2 they go the way of every job.
 */
export function chooseTool({ taskType, dataClass }: Pick<RouteRequest, "taskType" | "dataClass">): ToolChoice {
  return taskType === "wechat" && dataClass !== "P2" ? WECHAT : MODEL[dataClass];
}
