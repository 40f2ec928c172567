import { expect, test } from "vitest";
import { Decision, type JobRequestInput } from "../../bus-schemas/index.ts";
import type { SeenNode } from "../../client/index.ts";
import { nodeRecord } from "../../test/kit/router-parts.ts";
import { kindsFor } from "./kinds.ts";

const EMPTY = {
  task_type: "chat",
  tool: { tool: "model", data_residency: "any", reason: "a model answers" },
  candidates: [],
  candidates_total: 0,
  rejected_by: {},
  alternatives: [],
  score: null,
  error: null,
  node_id: null,
  layer: null,
  model: null,
  security_level: "P2",
  policy_revision: "test@1",
};

/** A router that has a place for what `can` says. */
const router = (can: (request: JobRequestInput) => boolean) => ({
  asked: [] as JobRequestInput[],
  async decide(request: JobRequestInput) {
    this.asked.push(request);
    return Decision.parse({ ...EMPTY, outcome: can(request) ? "routed" : "refused", reason: "no node is there" });
  },
});

const node = (id: string, models: { name: string; loaded?: boolean | null; capabilities?: string[] }[]): SeenNode => ({
  record: nodeRecord(id, {
    models: models.map(({ name }) => name),
    served_models: models.map((model) => ({ runtime: "ollama", ...model })),
  }),
  state: "ready",
  seenAgoMs: 0,
});

const names = async (fleet: SeenNode[], can: (request: JobRequestInput) => boolean = () => true) => {
  const { kinds, skipped } = await kindsFor(router(can), fleet);
  return { kinds: kinds.map(({ name }) => name), skipped: skipped.map(({ name }) => name) };
};

test("one model: a chat of each class and nothing by name", async () => {
  expect(await names([node("a", [{ name: "qwen" }])])).toEqual({
    kinds: ["chat P0", "chat P1", "chat P2"],
    skipped: [],
  });
});

test("several models are asked by name, but none that would have to be loaded or that writes no text", async () => {
  const fleet = [
    node("a", [{ name: "qwen" }, { name: "huge", loaded: false }]),
    node("b", [
      { name: "llama", loaded: true },
      { name: "bge", capabilities: ["embedding"] },
    ]),
  ];
  expect((await names(fleet)).kinds).toEqual([
    "chat P0",
    "chat P1",
    "chat P2",
    "chat P2 llama",
    "chat P2 qwen",
    "embedding P2",
  ]);
});

test("what a router has no place for is not sent, and named", async () => {
  const onlyP2 = ({ security_level: level }: JobRequestInput) => level === "P2";
  expect(await names([node("a", [{ name: "bge", capabilities: ["rerank"] }])], onlyP2)).toEqual({
    kinds: ["chat P2", "rerank P2"],
    skipped: ["chat P0", "chat P1"],
  });
});

test("an empty fleet has no names to ask for", async () => {
  expect(await names([], () => false)).toEqual({ kinds: [], skipped: ["chat P0", "chat P1", "chat P2"] });
});
