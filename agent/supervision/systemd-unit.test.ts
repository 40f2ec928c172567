import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { tempDir } from "../../test/kit/temp-dir.ts";
import { SystemdUnitMeans } from "./systemd-unit.ts";

const never = new AbortController().signal;

/** A systemctl that writes down how it was called and then does as `body` says. */
function systemctl(body: string) {
  const folder = tempDir("tiermesh-systemctl-");
  onTestFinished(() => folder.remove());
  const calls = join(folder.path, "calls");
  writeFileSync(join(folder.path, "systemctl"), `#!/bin/sh\necho "$*" >> ${calls}\n${body}\n`);
  chmodSync(join(folder.path, "systemctl"), 0o755);
  const env = { PATH: `${folder.path}${delimiter}${process.env["PATH"] ?? ""}` };
  return { env, calls: () => readFileSync(calls, "utf8").trim().split("\n") };
}

test.skipIf(process.platform === "win32")(
  "a unit is restarted without a question, also after it failed too often",
  async () => {
    const { env, calls } = systemctl('[ "$2" = reset-failed ] && exit 5; exit 0');
    await new SystemdUnitMeans({ unit: "vllm.service", user: false, env }).restart(never);
    expect(calls()).toEqual(["--no-ask-password reset-failed vllm.service", "--no-ask-password restart vllm.service"]);
    await new SystemdUnitMeans({ unit: "vllm.service", user: true, env }).restart(never);
    expect(calls().at(-1)).toBe("--no-ask-password --user restart vllm.service");
  },
);

test.skipIf(process.platform === "win32").each([
  // As systemd 252 says it.
  ["Failed to restart vllm.service: Interactive authentication required.", /this user may not restart it/],
  ["Failed to restart vllm.service: Unit vllm.service not found.", /Unit vllm.service not found/],
  ["Job for vllm.service failed because the control process exited with error code.", /Job for vllm.service failed/],
])("%s", async (line, message) => {
  const { env } = systemctl(`[ "$2" = restart ] && { echo "${line}" >&2; exit 1; }; exit 0`);
  const restart = new SystemdUnitMeans({ unit: "vllm.service", user: false, env }).restart(never);
  await expect(restart).rejects.toMatchObject({ code: "runtime_failed", message: expect.stringMatching(message) });
});

test("a machine without systemd says so", async () => {
  const restart = new SystemdUnitMeans({ unit: "vllm.service", user: false, env: { PATH: "" } }).restart(never);
  await expect(restart).rejects.toMatchObject({ code: "runtime_failed", message: expect.stringContaining("ENOENT") });
});
