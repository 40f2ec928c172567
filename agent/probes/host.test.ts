import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { CommandRunner } from "./command.ts";
import { createHost } from "./host.ts";

test("small files and folders are read, what is not there is no error, and what is large is cut", async () => {
  const dir = await mkdtemp(join(tmpdir(), "tiermesh-host-"));
  try {
    const host = createHost({ stateDir: dir, commands: new CommandRunner() });
    await writeFile(join(dir, "value"), "suspended\n");
    await writeFile(join(dir, "large"), "x".repeat(1_000_000));
    expect(await host.readText(join(dir, "value"))).toBe("suspended\n");
    expect(await host.readText(join(dir, "large"))).toHaveLength(64 * 1024);
    expect(await host.readText(join(dir, "none"))).toBeNull();
    expect(await host.readText(dir)).toBeNull();
    expect((await host.list(dir)).toSorted()).toEqual(["large", "value"]);
    expect(await host.list(join(dir, "none"))).toEqual([]);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
});
