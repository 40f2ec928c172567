import { mkdtemp, mkdir, rm, writeFile } from "node:fs/promises";
import { tmpdir, totalmem } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { CommandRunner } from "./command.ts";
import { createHost } from "./host.ts";

test("small files and folders are read; what is not there or no file is null or empty", async () => {
  const folder = await mkdtemp(join(tmpdir(), "tiermesh-host-"));
  try {
    const host = createHost({ stateDir: folder, commands: new CommandRunner() });
    await writeFile(join(folder, "temp1_input"), "51000\n");
    await writeFile(join(folder, "long"), "x".repeat(200_000));
    await mkdir(join(folder, "hwmon0"));
    expect(await host.readText(join(folder, "temp1_input"))).toBe("51000\n");
    expect(await host.readText(join(folder, "long"))).toBe("x".repeat(65_536));
    expect(await host.readText(join(folder, "absent"))).toBeNull();
    expect(await host.readText(join(folder, "hwmon0"))).toBeNull();
    expect((await host.list(folder)).toSorted()).toEqual(["hwmon0", "long", "temp1_input"]);
    expect(await host.list(join(folder, "absent"))).toEqual([]);
  } finally {
    await rm(folder, { recursive: true });
  }
});

test("this machine's memory is told, and no more of it is free than there is", async () => {
  const host = createHost({ stateDir: tmpdir(), commands: new CommandRunner() });
  const { totalBytes, availableBytes } = await host.memory();
  expect(totalBytes).toBe(totalmem());
  expect(availableBytes).toBeGreaterThan(0);
  expect(availableBytes).toBeLessThanOrEqual(totalBytes);
});
