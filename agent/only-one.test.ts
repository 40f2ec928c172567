import { expect, test } from "vitest";
import { createLog } from "../service/log.ts";
import { tempDir } from "../test/kit/temp-dir.ts";
import { onlyOne } from "./only-one.ts";

test("a second agent of a node does not start while the first is there, and takes over when it ends", async () => {
  const dir = tempDir("tiermesh-only-one-");
  const parts = { nodeDir: dir.path, nodeId: "n1", log: createLog("test", "silent") };
  const { signal } = new AbortController();
  const first = await onlyOne(parts, signal);
  await expect(onlyOne(parts, signal, 50)).rejects.toMatchObject({ code: "conflict" });
  const second = onlyOne(parts, signal);
  await first.release();
  await (await second).release();
  await dir.remove();
});
