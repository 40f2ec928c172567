import { expect, test } from "vitest";
import { DATA_CLASSES, ToolChoice } from "../../bus-schemas/index.ts";
import { chooseTool } from "./tools.ts";

test("SEED's route_wechat_access: P0 and P1 by the local tool, P2 as every job", () => {
  for (const dataClass of ["P0", "P1"] as const) {
    const choice = chooseTool({ taskType: "wechat", dataClass });
    expect(choice).toMatchObject({ tool: "mcp_wechat_local", data_residency: "local_only" });
  }
  expect(chooseTool({ taskType: "wechat", dataClass: "P2" })).toEqual(
    chooseTool({ taskType: "chat", dataClass: "P2" }),
  );
});

test("residency follows the class", () => {
  const choices = DATA_CLASSES.map((dataClass) => ToolChoice.parse(chooseTool({ taskType: "chat", dataClass })));
  expect(choices.map((choice) => choice.data_residency)).toEqual(["local_only", "local_first", "any"]);
});
