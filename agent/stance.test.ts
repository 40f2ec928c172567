import { readFileSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, expect, test } from "vitest";
import { tempDir } from "../test/kit/temp-dir.ts";
import { Stance } from "./stance.ts";

const folder = tempDir("tiermesh-stance-");
afterAll(() => folder.remove());
let count = 0;
const newFile = () => path.join(folder.path, `stance-${count++}.json`);
const noProblem = () => undefined;

test("a node is healthy until somebody says otherwise", () => {
  const stance = new Stance(newFile(), noProblem);
  expect(stance.status).toEqual({ status: "healthy", reason: null });
  expect(stance.closedBecause).toBeUndefined();
});

test("an operator's word survives a restart, and so does taking it back", () => {
  const file = newFile();
  new Stance(file, noProblem).set("cordoned", "new disk");
  const again = new Stance(file, noProblem);
  expect(again.status).toEqual({ status: "cordoned", reason: "new disk" });
  expect(again.closedBecause).toBe("the node is cordoned: new disk");
  again.set("draining", null);
  expect(new Stance(file, noProblem).closedBecause).toBe("the node is draining");
  again.set("healthy", null);
  expect(new Stance(file, noProblem).status.status).toBe("healthy");
  expect(statSync(file).mode & 0o077).toBe(process.platform === "win32" ? statSync(file).mode & 0o077 : 0);
});

test.each([
  ["half a file", '{"status":"cord'],
  ["null", "null"],
  ["an unknown status", '{"status":"tired","reason":null}'],
  ["a status that only the agent may say", '{"status":"leaving","reason":null}'],
  ["a reason that no heartbeat could carry", JSON.stringify({ status: "cordoned", reason: "x".repeat(201) })],
  ["an empty reason", '{"status":"cordoned","reason":""}'],
])("%s in the file counts as nothing said, and the next word is written over it", (_, text) => {
  const file = newFile();
  writeFileSync(file, text);
  const stance = new Stance(file, noProblem);
  expect(stance.status).toEqual({ status: "healthy", reason: null });
  stance.set("cordoned", "why");
  expect(JSON.parse(readFileSync(file, "utf8"))).toEqual({ status: "cordoned", reason: "why" });
});

test("a dead work path makes the node degraded; an operator's word and leaving come before it", () => {
  let problem: string | undefined = "the work thread does not answer";
  const stance = new Stance(newFile(), () => problem);
  expect(stance.status).toEqual({ status: "degraded", reason: problem });
  expect(stance.closedBecause).toBe("the node is degraded: the work thread does not answer");
  stance.set("cordoned", null);
  expect(stance.status.status).toBe("cordoned");
  stance.set("healthy", null);
  problem = undefined;
  expect(stance.closedBecause).toBeUndefined();
  stance.leave();
  expect(stance.status).toMatchObject({ status: "leaving" });
  expect(stance.closedBecause).toContain("leaving");
});

test("what its owner has set suspends the node with the reason; an operator's word comes before it, a dead work path after it", () => {
  let owners: string | undefined = "its user is active";
  const stance = new Stance(
    newFile(),
    () => "the work thread does not answer",
    () => owners,
  );
  expect(stance.status).toEqual({ status: "suspended", reason: "its user is active" });
  expect(stance.closedBecause).toBe("the node is suspended: its user is active");
  stance.set("cordoned", "new disk");
  expect(stance.status).toEqual({ status: "cordoned", reason: "new disk" });
  stance.set("healthy", null);
  owners = undefined;
  expect(stance.status.status).toBe("degraded");
});
