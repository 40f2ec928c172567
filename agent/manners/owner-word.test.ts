import { statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { tempDir } from "../../test/kit/temp-dir.ts";
import { OwnerWord } from "./owner-word.ts";

const folder = tempDir("tiermesh-owner-");
afterAll(() => folder.remove());
let count = 0;

function setup() {
  const file = join(folder.path, `owner-${count++}.json`);
  const now = { steady: 1000, unix: Date.UTC(2026, 0, 1) };
  const clocks = { steadyMs: () => now.steady, unixMs: () => now.unix };
  return { file, now, start: () => new OwnerWord(file, clocks) };
}

test("nothing was said at first; a pause stays until it is taken back, over restarts", () => {
  const { file, start } = setup();
  const word = start();
  expect(word.current).toBeUndefined();
  word.say("pause");
  expect(word.current).toEqual({ word: "pause", untilUnixMs: null });
  expect(start().current).toEqual({ word: "pause", untilUnixMs: null });
  word.resume();
  expect([word.current, start().current]).toEqual([undefined, undefined]);
  expect(process.platform === "win32" ? 0 : statSync(file).mode & 0o077).toBe(0);
});

test("a snooze ends by the clock that only runs forward, and after a restart by the one on the wall", () => {
  const { now, start } = setup();
  const word = start();
  word.say("pause", 10);
  const untilUnixMs = now.unix + 600_000;
  expect(word.current).toEqual({ word: "pause", untilUnixMs });
  // Somebody sets the clock: ten minutes are ten minutes.
  now.unix += 86_400_000;
  expect(word.current?.word).toBe("pause");
  now.steady += 600_000;
  expect(word.current).toBeUndefined();
  now.unix = untilUnixMs - 1;
  now.steady = 5;
  const again = start();
  expect(again.current?.word).toBe("pause");
  now.steady = 6;
  expect(again.current).toBeUndefined();
  now.unix = untilUnixMs;
  expect(start().current).toBeUndefined();
});

test.each(["{", "null", '{"word":"sleep","until_unix_ms":null}'])("%s in the file counts as nothing said", (text) => {
  const { file, start } = setup();
  writeFileSync(file, text);
  expect(start().current).toBeUndefined();
});
