import { expect, test } from "vitest";
import { cacheDir, spoolDir, stateDir } from "./paths.ts";

const linux = { platform: "linux", home: "/home/ada" } as const;
const mac = { platform: "darwin", home: "/Users/ada" } as const;
const windows = { platform: "win32", home: "C:\\Users\\ada" } as const;

test("each platform has its own cache and state folders", () => {
  expect(cacheDir({ ...linux, env: {} })).toBe("/home/ada/.cache/tiermesh");
  expect(stateDir({ ...linux, env: {} })).toBe("/home/ada/.local/share/tiermesh");
  expect(cacheDir({ ...mac, env: {} })).toBe("/Users/ada/Library/Caches/tiermesh");
  expect(stateDir({ ...mac, env: {} })).toBe("/Users/ada/Library/Application Support/tiermesh");
  const env = { LOCALAPPDATA: "D:\\Local" };
  expect(cacheDir({ ...windows, env })).toBe("D:\\Local\\tiermesh\\cache");
  expect(stateDir({ ...windows, env })).toBe("D:\\Local\\tiermesh");
  expect(stateDir({ ...windows, env: {} })).toBe("C:\\Users\\ada\\AppData\\Local\\tiermesh");
});

test("our own variables win over the platform's", () => {
  const env = { TIERMESH_CACHE_DIR: "/c", TIERMESH_HOME: "/s", XDG_CACHE_HOME: "/x", XDG_DATA_HOME: "/y" };
  expect(cacheDir({ ...linux, env })).toBe("/c");
  expect(stateDir({ ...linux, env })).toBe("/s");
  expect(spoolDir("main", { ...linux, env })).toBe("/s/spool/main");
});

test("XDG folders are used when absolute and ignored when relative or empty", () => {
  expect(cacheDir({ ...linux, env: { XDG_CACHE_HOME: "/x", TIERMESH_CACHE_DIR: "" } })).toBe("/x/tiermesh");
  expect(stateDir({ ...linux, env: { XDG_DATA_HOME: "/y" } })).toBe("/y/tiermesh");
  expect(cacheDir({ ...linux, env: { XDG_CACHE_HOME: "rel" } })).toBe("/home/ada/.cache/tiermesh");
  expect(stateDir({ ...linux, env: { XDG_DATA_HOME: "" } })).toBe("/home/ada/.local/share/tiermesh");
});
