import { readFileSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { tempDir } from "../../test/kit/temp-dir.ts";
import { keptCredentials } from "./credentials.ts";

function file(): string {
  const folder = tempDir();
  onTestFinished(() => folder.remove());
  return path.join(folder.path, "credentials.json");
}

test("credentials are made once, kept, and different for each bus", async () => {
  const [one, two] = [file(), file()];
  const first = await keptCredentials(one);
  expect(first.password.length).toBeGreaterThanOrEqual(43);
  expect(await keptCredentials(one)).toEqual(first);
  expect((await keptCredentials(two)).password).not.toBe(first.password);
});

test.skipIf(process.platform === "win32")("only the owner may read the file", async () => {
  const one = file();
  await keptCredentials(one);
  expect(statSync(one).mode & 0o777).toBe(0o600);
});

test.each(["", "hello", "null", '{"user":"a"}', '{"user":"a","password":"x\\" } evil"}'])(
  "a file with %j in it is refused by name, its content unquoted and untouched",
  async (content) => {
    const one = file();
    writeFileSync(one, content);
    const error = await keptCredentials(one).catch((caught: unknown) => caught);
    expect(error).toMatchObject({ code: "bad_config" });
    expect((error as Error).message).toBe(`${one} does not hold bus credentials; delete it to get new ones`);
    expect(readFileSync(one, "utf8")).toBe(content);
  },
);
