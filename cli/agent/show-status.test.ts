import { expect, test } from "vitest";
import { statusText } from "./show-status.ts";

const SERVICE = {
  manager: "systemd",
  version: "1.2.3",
  installed: true,
  enabled: true,
  running: true,
  says: "active (running)",
  pid: 7,
};

test("the service is told in a line, and one that does not run says what to do", () => {
  expect(statusText(SERVICE, [])).toBe(
    "systemd: active (running), starts with the machine; version 1.2.3 is installed",
  );
  expect(statusText({ ...SERVICE, enabled: false, running: false, says: "failed", version: null }, [])).toBe(
    "systemd: failed, does not start with the machine\n  → tiermesh-agent doctor says what to do",
  );
});

test("without a service there is nothing to say of one", () => {
  expect(statusText(null, [])).toBe("");
});
