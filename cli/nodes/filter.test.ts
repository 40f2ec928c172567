import { expect, test } from "vitest";
import type { SeenNode } from "../../client/index.ts";
import { nodeRecord } from "../../test/kit/router-parts.ts";
import { isMeant, wantedLabel, type NodeFilter } from "./filter.ts";
import { labelChange } from "./label.ts";

const FLEET: SeenNode[] = [
  {
    id: "a",
    state: "ready",
    layer: "L1",
    profile: "server",
    labels: { site: "Berlin", rack: "7" },
    models: ["qwen:latest"],
  },
  { id: "b", state: "lost", layer: "L1", profile: "server", labels: { site: "Paris" }, models: ["qwen"] },
  { id: "d", state: "suspended", layer: "L2", status: "degraded", profile: null, labels: {}, models: [] },
  { id: "c", state: "ready", layer: "L0", profile: null, labels: {}, models: [] },
].map(({ id, state, ...record }) => ({
  record: nodeRecord(id, record as object),
  state: state as SeenNode["state"],
  seenAgoMs: 0,
}));

const meant = (filter: NodeFilter) => FLEET.filter((node) => isMeant(node, filter)).map(({ record }) => record.node_id);

test.each<[string, NodeFilter, string[]]>([
  ["nothing", {}, ["a", "b", "d", "c"]],
  ["a state", { state: ["lost"] }, ["b"]],
  ["one of two states", { state: ["lost", "ready"] }, ["a", "b", "c"]],
  ["a state of its own word, which is shown as suspended", { state: ["degraded"] }, ["d"]],
  ["a layer and a state", { layer: ["L1"], state: ["ready"] }, ["a"]],
  ["a label", { label: [["site", "Berlin"]] }, ["a"]],
  ["a label with any value", { label: [["site", undefined]] }, ["a", "b"]],
  [
    "two labels, which both count",
    {
      label: [
        ["site", undefined],
        ["rack", "7"],
      ],
    },
    ["a"],
  ],
  ["a label that is a word of JavaScript's", { label: [["toString", undefined]] }, []],
  ["a model without its tag", { model: ["qwen"] }, ["a", "b"]],
  ["a model with it", { model: ["qwen:latest"] }, ["a"]],
  ["a profile", { profile: ["server"] }, ["a", "b"]],
  ["what there is none of", { profile: ["egress"] }, []],
])("%s", (_, filter, expected) => expect(meant(filter)).toEqual(expected));

test("labels are read as they are said; each KEY=VALUE may hold further equals signs", () => {
  expect(wantedLabel("a=b=c", [["x", undefined]])).toEqual([
    ["x", undefined],
    ["a", "b=c"],
  ]);
  expect(wantedLabel("a")).toEqual([["a", undefined]]);
  expect(() => wantedLabel("=b")).toThrow("KEY=VALUE");
  expect(labelChange("rack-", labelChange("team/site=a=b"))).toEqual({ "team/site": "a=b", rack: null });
  expect(labelChange("a=")).toEqual({ a: "" });
});

test.each(["", "a", "-", "a b=c", "=x", `${"k".repeat(61)}=v`, `k=${"v".repeat(201)}`, "__proto__=x"])(
  "%j is no change of a label",
  (text) => expect(() => labelChange(text)).toThrow(),
);

test("a label that is named twice is a mistake, not a riddle", () => {
  expect(() => labelChange("a-", labelChange("a=b"))).toThrow("a is named twice");
});
