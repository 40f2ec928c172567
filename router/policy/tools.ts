import type { ToolChoice } from "../../bus-schemas/index.ts";
import type { RouteRequest } from "./types.ts";

/**
 * Level one (SEED 一级路由): which tool or data source a task uses, and where its data may live. SEED's
 * `route_wechat_access`: enterprise chat records of class P0 or P1 are read by the local MCP tool and stay local.
 */
export function chooseTool({ taskType, dataClass }: Pick<RouteRequest, "taskType" | "dataClass">): ToolChoice {
  if (taskType === "wechat" && dataClass !== "P2") {
    return {
      tool: "mcp_wechat_local",
      data_residency: "local_only",
      reason: "chat records of class P0 and P1 stay local",
    };
  }
  if (dataClass === "P0") return { tool: "model", data_residency: "local_only", reason: "P0 stays on L0 and L1" };
  if (dataClass === "P1") return { tool: "model", data_residency: "local_first", reason: "P1 leaves only anonymised" };
  return { tool: "model", data_residency: "any", reason: "P2 has no residency" };
}
