import { expect, test } from "vitest";
import { eventSource, lastToken, parseEventSubject, parseHeartbeatSubject, subjects } from "./index.ts";

const s = subjects();

test("the subjects are those of the bus contract", () => {
  expect(s.heartbeat("L1", "ws-1")).toBe("mesh.main.heartbeat.L1.ws-1");
  expect(s.submit("chat")).toBe("mesh.main.job.submit.chat");
  expect(s.route).toBe("mesh.main.job.route");
  expect(s.run("P0", "ws-1")).toBe("mesh.main.job.run.P0.ws-1");
  expect(s.runs("P0", "ws-1")).toBe(s.run("P0", "ws-1"));
  expect(s.sealed("P0", "ws-1")).toBe("mesh.main.job.sealed.P0.ws-1");
  expect(s.cancel("01J")).toBe("mesh.main.job.cancel.01J");
  expect(s.control("ws-1")).toBe("mesh.main.node.control.ws-1");
  expect(s.event("job_ended", "P1", "agent", "ws-1")).toBe("mesh.main.event.job_ended.P1.agent.ws-1");
  expect(s.eventsOf("job_ended", "P1")).toBe("mesh.main.event.job_ended.P1.*.*");
  expect(s.alert("critical", "node_offline")).toBe("mesh.main.alert.critical.node_offline");
  expect(subjects("plant-2").auditQuery).toBe("mesh.plant-2.audit.query");
});

test("what is no subject token cannot become part of a subject", () => {
  for (const bad of ["", "a.b", "*", ">", "a b", "a\n", "ä", "x".repeat(65)]) {
    expect(() => subjects(bad)).toThrow(RangeError);
    expect(() => s.submit(bad)).toThrow(RangeError);
    expect(() => s.heartbeat("L0", bad)).toThrow(RangeError);
    expect(() => s.runs("P0", bad)).toThrow(RangeError);
    expect(() => s.cancel(bad)).toThrow(RangeError);
    expect(() => s.control(bad)).toThrow(RangeError);
    expect(() => s.codec(bad)).toThrow(RangeError);
    expect(() => s.event(bad, "none", "agent", "ws-1")).toThrow(RangeError);
    expect(() => s.event("node_left", "none", bad, "ws-1")).toThrow(RangeError);
    expect(() => s.event("node_left", "none", "agent", bad)).toThrow(RangeError);
    expect(() => s.eventsOf(bad, "none")).toThrow(RangeError);
  }
});

test("a heartbeat subject tells layer and node, and nothing else is one", () => {
  expect(parseHeartbeatSubject("mesh.main.heartbeat.L1.ws-1")).toEqual({ layer: "L1", node: "ws-1" });
  for (const other of ["", "mesh.main.heartbeat.L1", "mesh.main.heartbeat.L1.a.b", "mesh.main.event.L1.a"]) {
    expect(parseHeartbeatSubject(other)).toBeUndefined();
  }
});

test("an event subject tells type, class and who says it, and nothing else is one", () => {
  const said = parseEventSubject(s.event("node_left", "none", "router", "router-1"));
  expect(said).toEqual({ type: "node_left", dataClass: "none", process: "router", name: "router-1" });
  expect(said && eventSource(said)).toBe("router/router-1");
  for (const other of [
    "",
    "mesh.main.event.node_left.none",
    "mesh.main.event.node_left.none.router",
    "mesh.main.event.node_left.none.router.r.1",
    "mesh.main.alert.node_left.none.router.r",
  ]) {
    expect(parseEventSubject(other)).toBeUndefined();
  }
});

test("the last token of a subject is what varies", () => {
  expect(lastToken("mesh.main.job.submit.chat")).toBe("chat");
  expect(lastToken("chat")).toBe("chat");
});
