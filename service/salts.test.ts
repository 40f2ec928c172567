import { createHmac } from "node:crypto";
import { readFile, readdir, stat, writeFile } from "node:fs/promises";
import path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { tempDir, type TempDir } from "../test/kit/temp-dir.ts";
import { SaltKeeper } from "./salts.ts";

let dir: TempDir;
let folder: string;
let salts: SaltKeeper;
beforeEach(() => {
  dir = tempDir("tiermesh-salts-");
  folder = path.join(dir.path, "salts");
  salts = new SaltKeeper(folder);
});
afterEach(() => dir.remove());

const content = Buffer.from("what is my balance?");

test("a commitment is the HMAC by the subject's salt: the same for the same content, another for another subject", async () => {
  const said = await salts.commit("alice", content);
  const [file = ""] = await readdir(folder);
  const salt = Buffer.from((await readFile(path.join(folder, file), "latin1")).trim(), "hex");
  expect(said).toBe(`hmac-sha256:${createHmac("sha256", salt).update(content).digest("hex")}`);
  expect(await new SaltKeeper(folder).commit("alice", content)).toBe(said);
  expect(await salts.commit("bob", content)).not.toBe(said);
  expect(await salts.matches("alice", content, said)).toBe(true);
  expect(await salts.matches("alice", Buffer.from("something else"), said)).toBe(false);
});

test("where the salt was erased nobody can tell any more what was committed to, also when the subject comes back", async () => {
  const said = await salts.commit("alice", content);
  await salts.commit("bob", content);
  expect(await salts.erase("alice")).toBe(true);
  expect(await readdir(folder)).toHaveLength(1);
  expect(await salts.matches("alice", content, said)).toBeUndefined();
  expect(await salts.erase("alice")).toBe(false);
  expect(await salts.commit("alice", content)).not.toBe(said);
  expect(await salts.matches("alice", content, said)).toBe(false);
});

test("whoever comes at the same time gets the one salt, and no unfinished file stays", async () => {
  const said = await Promise.all(Array.from({ length: 20 }, () => new SaltKeeper(folder).commit("alice", content)));
  expect(new Set(said).size).toBe(1);
  expect(await readdir(folder)).toHaveLength(1);
});

test("salts are for their owner only, and a damaged one is told of without what is in it", async () => {
  await salts.commit("alice", content);
  const [name = ""] = await readdir(folder);
  const file = path.join(folder, name);
  // Windows has no such mode.
  const modes = process.platform === "win32" ? [0o700, 0o600] : [(await stat(folder)).mode, (await stat(file)).mode];
  expect(modes.map((mode) => mode & 0o777)).toEqual([0o700, 0o600]);
  const salt = await readFile(file, "latin1");
  await writeFile(file, salt.slice(2));
  await expect(salts.commit("alice", content)).rejects.toThrow(/is no salt/);
  await expect(salts.commit("alice", content)).rejects.not.toThrow(salt.slice(4, 20));
  expect(await salts.erase("alice")).toBe(true);
});

test("each job of a subject has a salt of its own, which is gone with the subject's, and a pseudonym as well", async () => {
  const salt = await salts.jobSalt("alice", "job-1");
  expect(salt).toMatch(/^[A-Za-z0-9_-]{43}$/);
  expect(await new SaltKeeper(folder).jobSalt("alice", "job-1")).toBe(salt);
  expect((await salts.findJobSalt("alice", "job-1"))?.toString("base64url")).toBe(salt);
  const pseudonym = await salts.pseudonym("alice");
  expect(pseudonym).toMatch(/^p-[A-Za-z0-9_-]{16}$/);
  expect(await salts.pseudonym("alice")).toBe(pseudonym);
  expect([await salts.findPseudonym("alice"), await salts.findPseudonym("nobody")]).toEqual([pseudonym, undefined]);
  const others = [await salts.jobSalt("alice", "job-2"), await salts.jobSalt("bob", "job-1"), salt];
  expect(new Set(others).size).toBe(3);
  expect(await salts.pseudonym("bob")).not.toBe(pseudonym);
  await salts.erase("alice");
  expect(await salts.findJobSalt("alice", "job-1")).toBeUndefined();
  expect(await salts.jobSalt("alice", "job-1")).not.toBe(salt);
  expect(await salts.pseudonym("alice")).not.toBe(pseudonym);
});
