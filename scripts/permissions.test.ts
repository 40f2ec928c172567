import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { expect, test } from "vitest";
import { alternatives } from "../test/kit/role-expectations.ts";
import { tempDir } from "../test/kit/temp-dir.ts";
import { CHINESE, CHINESE_TEXTS } from "./permission-table-zh.ts";
import { ENGLISH, fold, permissionTables, permissionTexts } from "./permission-table.ts";

const script = path.join(import.meta.dirname, "permissions.ts");
const docs = path.join(import.meta.dirname, "..", "docs");
const PAGES = ["security.md", "security.zh-CN.md"];
const page = (name: string) => readFileSync(path.join(docs, name), "utf8");
const run = (...args: string[]) => spawnSync(process.execPath, [script, ...args], { encoding: "utf8" });

test("the tables in the committed pages are those of the templates", () => {
  expect(run("--check")).toMatchObject({ status: 0, stderr: "" });
});

test("a stale table is named with what to run, and running it helps; the text around it stays", async () => {
  await using dir = tempDir();
  for (const name of PAGES)
    writeFileSync(path.join(dir.path, name), page(name).replace("`mesh.main.job.route`", "`x`"));
  const stale = run("--check", "--folder", dir.path);
  expect(stale.status).toBe(1);
  for (const part of [...PAGES, "npm run schemas"]) expect(stale.stderr).toContain(part);
  expect(run("--folder", dir.path).status).toBe(0);
  for (const name of PAGES) expect(readFileSync(path.join(dir.path, name), "utf8")).toBe(page(name));
});

test("a page without a place for the table is told by name and left alone", async () => {
  await using dir = tempDir();
  for (const name of PAGES) writeFileSync(path.join(dir.path, name), "# Security\n");
  for (const flags of [["--check"], []])
    expect(run(...flags, "--folder", dir.path)).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("security.zh-CN.md: has no place for the table"),
    });
  expect(readFileSync(path.join(dir.path, "security.md"), "utf8")).toBe("# Security\n");
});

test("every reason is there in Chinese, and no Chinese is left over", () => {
  expect(Object.keys(CHINESE_TEXTS).toSorted()).toEqual([...permissionTexts()].toSorted());
  for (const text of Object.values(CHINESE_TEXTS)) expect(text.trim()).not.toBe("");
  expect(() => CHINESE.translate("something new")).toThrow("something new");
});

test("both languages have the same subjects in the same order", () => {
  const subjects = (tables: string) => [...tables.matchAll(/`([^`]+)`/g)].map(([, subject]) => subject);
  const chosen = (tables: string) => subjects(tables).filter((subject) => /[.]/.test(subject ?? ""));
  expect(chosen(permissionTables(CHINESE))).toEqual(chosen(permissionTables(ENGLISH)));
});

test("what was folded together unfolds to the same subjects, none more", () => {
  const all = ["a.b.c", "a.b.d", "a.x.c", "a.x.d", "a.y.c", "q", "q.r", "a.b.*", "a.>"];
  const folded = fold(all);
  expect(folded.length).toBeLessThan(all.length);
  expect(folded.flatMap(alternatives).toSorted()).toEqual(all.toSorted());
});

test("both pages have the same headings, by number and depth", () => {
  const [english, chinese] = PAGES.map((name) =>
    page(name)
      .replaceAll(/```[\s\S]*?```/g, "")
      .split("\n")
      .filter((line) => line.startsWith("#"))
      .map((line) => line.replace(/[^#].*/, "")),
  );
  expect(chinese).toEqual(english);
});
