import { expect, test } from "vitest";
import { LocalStatus } from "../../agent/local-control/protocol.ts";
import { describeAgent } from "./describe.ts";

const agent = (more: Partial<LocalStatus> = {}): LocalStatus =>
  LocalStatus.parse({
    node_id: "laptop-7",
    layer: "L0",
    profile: "workstation",
    status: "healthy",
    status_reason: null,
    since: "2026-11-26T10:00:00.000Z",
    closed_by: [],
    owner: null,
    exclusive_app: null,
    user_idle_seconds: 4000.4,
    running: 1,
    queued: 2,
    allowed_slots: 2,
    slots: 4,
    limits: {},
    files: [],
    warnings: [],
    ...more,
  });

test("an agent that works is told in a few lines, in operators' words", () => {
  expect(describeAgent(agent()).split("\n")).toEqual([
    "node         laptop-7, L0, profile workstation",
    "state        ready, since 2026-11-26T10:00:00.000Z",
    "user         away for 4000 s",
    "jobs         1 running, 2 waiting, 2 of 4 slots may be used",
    "limits from  the profile",
  ]);
  expect(describeAgent(agent({ running: 2 }))).toContain("busy, since");
});

test("one that is stopped says by what, by what else, until when, and what its files try in vain", () => {
  const said = describeAgent(
    agent({
      status: "suspended",
      status_reason: "its owner has paused it",
      closed_by: ["owner", "app", "cpu"],
      owner: { word: "pause", until: "2026-11-26T11:00:00.000Z" },
      exclusive_app: "game",
      user_idle_seconds: null,
      files: ["/etc/tiermesh/agent-policy.yaml"],
      warnings: ["agent.yaml: user_active is looser"],
    }),
  );
  expect(said).toContain("suspended: its owner has paused it, since");
  expect(said).toMatch(/also closed by +app, cpu/);
  expect(said).toMatch(/owner +pause until 2026-11-26T11:00:00.000Z; tiermesh agent resume takes it back/);
  expect(said).toMatch(/app +game/);
  expect(said).toMatch(/user +nobody can tell/);
  expect(said).toMatch(/limits from +the profile, \/etc\/tiermesh/);
  expect(said).toContain("! agent.yaml: user_active is looser");
});
