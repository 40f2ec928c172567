import { writeFileSync } from "node:fs";
import path from "node:path";
import { Command } from "commander";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { SaltKeeper } from "../../service/salts.ts";
import { tempDir, type TempDir } from "../../test/kit/temp-dir.ts";
import { addSaltCommands } from "./salts.ts";

let dir: TempDir;
let said: string;
beforeEach(() => {
  dir = tempDir("tiermesh-erase-");
  const say = (text: string | Uint8Array) => {
    said += String(text);
    return true;
  };
  vi.spyOn(process.stdout, "write").mockImplementation(say);
  vi.spyOn(process.stderr, "write").mockImplementation(say);
});
afterEach(async () => {
  vi.restoreAllMocks();
  process.exitCode = 0;
  await dir.remove();
});

async function audit(...args: string[]): Promise<number | string | undefined> {
  said = "";
  process.exitCode = 0;
  const program = new Command("audit").exitOverride();
  addSaltCommands(program);
  await program.parseAsync([...args, "--salts", path.join(dir.path, "salts")], { from: "user" });
  return process.exitCode ?? undefined;
}

test("a pseudonym is told where the subject has a salt, makes none, and goes with it", async () => {
  expect(await audit("pseudonym", "alice")).toBe(1);
  expect(said).toContain("no salt of alice here");
  const keeper = new SaltKeeper(path.join(dir.path, "salts"));
  const pseudonym = await keeper.pseudonym("alice");
  expect(await audit("pseudonym", "alice")).toBe(0);
  expect(said).toBe(`${pseudonym}\n`);
  expect(await audit("pseudonym", "bob", "--json")).toBe(1);
  expect(JSON.parse(said)).toEqual({ subject: "bob", pseudonym: null });
  await audit("erase", "alice");
  expect(await audit("pseudonym", "alice")).toBe(1);
});

test("content is shown to be what was committed to, until the subject is erased", async () => {
  const file = path.join(dir.path, "question.txt");
  writeFileSync(file, "what is my balance?");
  expect(await audit("commitment", "alice", file)).toBe(0);
  const commitment = said.trim();
  expect(commitment).toMatch(/^hmac-sha256:[0-9a-f]{64}$/);
  expect(await audit("commitment", "alice", file, "--matches", commitment)).toBe(0);
  writeFileSync(file, "what is yours?");
  expect(await audit("commitment", "alice", file, "--matches", commitment, "--json")).toBe(1);
  expect(JSON.parse(said)).toEqual({ subject: "alice", matches: false });
  expect(await audit("erase", "alice")).toBe(0);
  expect(said).toContain("is destroyed");
  expect(await audit("commitment", "alice", file, "--matches", commitment)).toBe(1);
  expect(said).toContain("nobody can tell");
  expect(await audit("erase", "alice", "--json")).toBe(1);
  expect(JSON.parse(said)).toEqual({ subject: "alice", erased: false });
  await expect(audit("commitment", "alice", path.join(dir.path, "none"))).rejects.toMatchObject({
    code: "bad_request",
  });
});
