import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, expect, test } from "vitest";
import { eventually, isAlive } from "../kit/mesh.ts";
import { startProc } from "../kit/proc.ts";
import { tempDir } from "../kit/temp-dir.ts";

const folder = tempDir("tiermesh-supervised-");
afterAll(() => folder.remove());
const service = (file: string) =>
  JSON.stringify(pathToFileURL(path.join(import.meta.dirname, "..", "..", "service", file)).href);

function write(name: string, body: string): string {
  const file = path.join(folder.path, name);
  writeFileSync(file, body);
  return file;
}

test("when the supervisor is killed with kill -9 its processes stop by themselves, in order", async () => {
  const child = write(
    "child.mts",
    `import { writeFileSync } from "node:fs";
     import { runProcess } from ${service("lifecycle.ts")};
     import { createLog } from ${service("log.ts")};
     import { announceReady } from ${service("ready.ts")};
     runProcess(createLog("child", "silent"), async (lifecycle) => {
       const timer = setInterval(() => {}, 1000);
       lifecycle.onClose("all", () => { clearInterval(timer); writeFileSync(process.env.MARK, "closed"); });
       announceReady("child", { pid: process.pid });
     });`,
  );
  const mark = path.join(folder.path, "mark");
  const boss = write(
    "boss.mts",
    `import { Supervisor } from ${service("supervisor.ts")};
     const supervisor = new Supervisor({ logDir: ${JSON.stringify(folder.path)} });
     const { pid } = await supervisor.start(
       { name: "child", entry: ${JSON.stringify(child)}, env: { MARK: ${JSON.stringify(mark)} } }, 20_000);
     console.log("child " + pid);`,
  );
  await using proc = startProc(boss);
  const pid = Number((await proc.waitForLine(/^child (\d+)$/, 20_000))[1]);
  expect(isAlive(pid)).toBe(true);
  proc.kill("SIGKILL");
  await eventually("the end of the child", () => !isAlive(pid));
  expect(readFileSync(mark, "utf8")).toBe("closed");
});
