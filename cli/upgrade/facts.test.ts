import { expect, test } from "vitest";
import { ControlReply, MeshError, NodeRecord, UpgradeState } from "../../bus-schemas/index.ts";
import type { SeenNode } from "../../client/index.ts";
import { nodeRecord } from "../../test/kit/router-parts.ts";
import { factsOf } from "./facts.ts";
import type { Fleet } from "./fleet.ts";

const RELEASE = { v: 1 as const, version: "2.0.0", files: [], added_unix_ms: 1_700_000_000_000, by: "ada" };
const seen = (id: string, more: Partial<NodeRecord> = {}, state: SeenNode["state"] = "ready"): SeenNode => ({
  record: { ...NodeRecord.parse(nodeRecord(id, { version: "1.0.0" })), ...more },
  state,
  seenAgoMs: 0,
});

test("each node that is meant says itself whether it can, and one that says nothing it knows is told apart", async () => {
  const asked: string[] = [];
  const says = (error: MeshError | undefined, problem?: string) =>
    ControlReply.parse({
      ok: error === undefined,
      node_id: "n",
      error: error?.toWire() ?? null,
      upgrade: problem === undefined ? null : UpgradeState.parse({ phase: "failed", problem }),
    });
  const answers: Record<string, () => ControlReply> = {
    fine: () => says(undefined),
    container: () => says(new MeshError("not_supported", "no service"), "not_installed"),
    old: () => says(new MeshError("bad_request", "command: Invalid input", { field: "command" })),
    silent: () => {
      throw new MeshError("node_lost", "silent has fallen silent");
    },
  };
  const fleet = {
    nodes: () => [
      ...["fine", "container", "old", "silent", "other"].map((id) => seen(id)),
      seen("there", { version: "2.0.0" }),
      seen("gone", {}, "lost"),
    ],
    order: async (id: string, request: { command: string }) => {
      asked.push(`${id} ${request.command}`);
      return answers[id]?.() ?? says(undefined);
    },
  } as unknown as Fleet;
  const facts = await factsOf(fleet, RELEASE, { id: "r1", meant: ({ record }) => record.node_id !== "other" });
  expect(Object.fromEntries(facts.map(({ id, refusal }) => [id, refusal?.problem]))).toEqual({
    fine: undefined,
    container: "not_installed",
    old: "unknown_order",
    silent: "away",
    there: undefined,
    gone: "away",
    other: undefined,
  });
  expect(asked.toSorted()).toEqual(["container upgrade", "fine upgrade", "old upgrade", "silent upgrade"]);
  expect(facts.find(({ id }) => id === "gone")).toMatchObject({ serves: false, meant: true });
  expect(facts.find(({ id }) => id === "other")?.meant).toBe(false);
});
