import { expect, test } from "vitest";
import { Decision, type AuditEntry } from "../../bus-schemas/index.ts";
import type { SeenNode } from "../../client/index.ts";
import { nodeRecord } from "../../test/kit/router-parts.ts";
import { auditLine } from "./audit.ts";
import { formatDecision } from "./decision.ts";
import { formatNodes } from "./node.ts";
import { displayWidth, table } from "./table.ts";
import { harmless } from "./terminal.ts";

test("columns are as wide as their widest cell, numbers stand to the right, no line ends in spaces", () => {
  expect(
    table([
      ["NAME", "PID", "NOTE"],
      ["a", "7", ""],
      ["long", "1234", "x"],
    ]),
  ).toBe("NAME  PID   NOTE\na        7\nlong  1234  x");
});

test("Chinese names, emoji and combining marks keep the columns straight", () => {
  expect(["节点", "ｆ", "한", "🚀", "𠀀", "e\u0301", "abc"].map(displayWidth)).toEqual([4, 2, 2, 2, 2, 1, 3]);
  const lines = table([
    ["节点甲", "x"],
    ["a", "y"],
  ]).split("\n");
  expect(lines).toEqual(["节点甲  x", "a       y"]);
});

test("a name from another machine cannot steer the terminal", () => {
  expect(table([["\u001b[2Jevil\r\n", "x"]])).toBe("?[2Jevil??  x");
});

test("an answer keeps its lines and tabs, and nothing else that a terminal obeys", () => {
  expect(harmless("a\n\tb\u001b[2J\u009b1m\rc\u0007")).toBe("a\n\tb?[2J?1m?c?");
});

test("an empty table, a table of only a heading and an empty fleet are no error", () => {
  expect(table([])).toBe("");
  expect(table([["A", "B"]])).toBe("A  B");
  expect(formatNodes([])).toMatch(/^NODE +LAYER/);
});

test("unknown is shown as ?, never as 0", () => {
  const record = nodeRecord("n1", { load: null, served_models: [], models: [] });
  const seen: SeenNode = { record, state: "ready", seenAgoMs: 1234 };
  const [, line = ""] = formatNodes([seen]).split("\n");
  expect(line.trim().split(/ {2,}/)).toEqual(["n1", "L1", "ready", "?", "?", "?", "none", "?", "none", "1.2 s"]);
});

test("what is known of a node is in its line: load, memory, GPUs", () => {
  const record = nodeRecord("n1", {
    hardware: {
      cpu_utilization: 0.25,
      memory_gb: 64,
      memory_free_gb: 30.4,
      temperature_celsius: 51.6,
      gpus: [{ name: "A100", vram_total_gb: 80, vram_free_gb: 20 }, { name: "iGPU" }],
    },
    load: { slots: 2, running: 2, queued: 3, queue_limit: 8 },
  });
  const text = formatNodes([{ record, state: "suspended", seenAgoMs: 0 }]);
  for (const part of ["suspended", "25 %", "30 of 64 GB free", "52 °C", "A100 20 of 80 GB free, iGPU ?", "2/2 +3"])
    expect(text).toContain(part);
});

const DECISION = {
  outcome: "routed",
  reason: "n1 scores best",
  node_id: "n1",
  layer: "L1",
  model: "tiny",
  security_level: "P0",
  policy_revision: "test@1",
} as const;

function decision(overrides: object): Decision {
  return Decision.parse({ ...EMPTY, ...DECISION, ...overrides });
}
const EMPTY = {
  task_type: "chat",
  tool: { tool: "model", data_residency: "any", reason: "a model answers" },
  candidates: [],
  candidates_total: 0,
  rejected_by: {},
  alternatives: [],
  score: null,
  error: null,
};

test("a decision is its sentence, each candidate with its terms or the filter that removed it, and what was not shown", () => {
  const score = { total: 0.91, security: 1, capability: 0.8, latency: 0.9, cost: 0.7, predicted_ms: 812.4 };
  const text = formatDecision(
    decision({
      candidates: [
        { node_id: "n1", layer: "L1", model: "tiny", rejected: null, score },
        {
          node_id: "cloud",
          layer: "L2",
          model: "通义",
          rejected: { filter: "data-class", reason: "P0 stays home" },
          score: null,
        },
      ],
      candidates_total: 12,
      rejected_by: { health: 10 },
    }),
  );
  expect(text.split("\n")[0]).toBe("n1 scores best");
  expect(text).toMatch(/→ +n1 +L1 +tiny +0\.91 +1\.00 +0\.80 +0\.90 +0\.70 +812 ms/);
  expect(text).toMatch(/cloud +L2 +通义 .*data-class: P0 stays home/);
  expect(text).toContain("… and 10 more: health removed 10");
  expect(text).toContain("class P0 · policy test@1");
});

test("a decision over an empty fleet has no table", () => {
  const text = formatDecision(decision({ outcome: "refused", reason: "no node is there", node_id: null, model: null }));
  expect(text).toBe("no node is there\nclass P0 · policy test@1");
});

test("an audit entry is one line; what it does not say is left out", () => {
  const entry = (overrides: object) =>
    ({
      sequence: 7,
      time: "2026-11-23T10:00:00Z",
      type: "job_ended",
      security_level: "P1",
      job_id: "job-00000001",
      data: { status: "finished", node_id: "n1", model: null, error: { code: "x" } },
      ...overrides,
    }) as AuditEntry;
  expect(auditLine(entry({}))).toBe("#7 2026-11-23T10:00:00Z job_ended P1 job=job-00000001 status=finished node_id=n1");
  const problem = { auditor: "auditor-2", kind: "log", problem: "tile/0/004: \u001b[31mmissing" };
  expect(auditLine(entry({ job_id: null, data: problem }))).toContain(
    "auditor=auditor-2 kind=log problem=tile/0/004: ?[31mmissing",
  );
  expect(auditLine(entry({ security_level: null, job_id: null, data: null }))).toBe(
    "#7 2026-11-23T10:00:00Z job_ended -",
  );
});
