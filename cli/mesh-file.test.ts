import { readFileSync, statSync, writeFileSync } from "node:fs";
import { spawnSync } from "node:child_process";
import { afterAll, expect, test } from "vitest";
import { tempDir } from "../test/kit/temp-dir.ts";
import { busAddress, meshFilePath, readMeshFile, removeMeshFile, writeMeshFile, type MeshFile } from "./mesh-file.ts";

const folder = tempDir("tiermesh-mesh-file-");
afterAll(() => folder.remove());
const env = { TIERMESH_HOME: folder.path };
const file = (overrides: Partial<MeshFile> = {}): MeshFile => ({
  pid: process.pid,
  started_at: "2026-11-23T10:00:00Z",
  version: "0.1.0",
  cell: "main",
  nats_url: "nats://127.0.0.1:4222",
  nats_user: "me",
  nats_password: "hunter2",
  gateway_url: "http://127.0.0.1:8080",
  node_id: null,
  state_dir: folder.path,
  processes: [],
  ...overrides,
});

test("what was written is read, by its owner only; removing it twice is no error", () => {
  writeMeshFile(env, file());
  expect(readMeshFile(env)).toEqual(file());
  // Windows knows no such modes.
  expect(process.platform === "win32" ? 0o600 : statSync(meshFilePath(env)).mode & 0o777).toBe(0o600);
  removeMeshFile(env);
  removeMeshFile(env);
  expect(readMeshFile(env)).toBeUndefined();
});

test("a file that a killed mesh left behind does not count", () => {
  const { pid } = spawnSync(process.execPath, ["-e", ""]);
  writeMeshFile(env, file({ pid }));
  expect(readMeshFile(env)).toBeUndefined();
  expect(() => busAddress(env)).toThrow(expect.objectContaining({ code: "bus_unavailable" }));
});

test.each([
  ["half a file", (text: string) => text.slice(0, 40)],
  ["null", () => "null"],
  ["a file of another version", (text: string) => text.replace('"pid"', '"process"')],
  ["a wrong type", (text: string) => text.replace(/"pid": \d+/, '"pid": "one"')],
])("%s counts as no mesh", (_, spoil) => {
  writeMeshFile(env, file());
  writeFileSync(meshFilePath(env), spoil(readFileSync(meshFilePath(env), "utf8")));
  expect(readMeshFile(env)).toBeUndefined();
});

test("a named bus comes before the mesh on this machine; an empty name counts as none", () => {
  writeMeshFile(env, file({ cell: "two" }));
  expect(busAddress({ ...env, TIERMESH_NATS_URL: "" })).toEqual({
    url: "nats://127.0.0.1:4222",
    cell: "two",
    user: "me",
    password: "hunter2",
  });
  writeMeshFile(env, file({ nats_ca: "/ours/ca.pem" }));
  expect(busAddress(env).caFile).toBe("/ours/ca.pem");
  const named = { ...env, TIERMESH_NATS_URL: "tls://bus:1" };
  expect(busAddress({ ...named, TIERMESH_NATS_CA: "/theirs/ca.pem" }).caFile).toBe("/theirs/ca.pem");
  expect(busAddress({ ...named, TIERMESH_NATS_CA: "" })).toMatchObject({ caFile: undefined });
  expect(busAddress({ ...env, TIERMESH_NATS_URL: "nats://bus:1", TIERMESH_CELL: "three" })).toEqual({
    url: "nats://bus:1",
    cell: "three",
  });
});

test("a duty is taken up by its own key, beside the operator's; another word is refused by name", () => {
  writeMeshFile(env, file({ nats_nkey: "/bus/keys/operator.nk" }));
  expect(busAddress({ ...env, TIERMESH_DUTY: "security" }).nkeyFile).toBe("/bus/keys/security.nk");
  expect(busAddress({ ...env, TIERMESH_DUTY: "" }).nkeyFile).toBe("/bus/keys/operator.nk");
  expect(() => busAddress({ ...env, TIERMESH_DUTY: "keeper" })).toThrow(/TIERMESH_DUTY: security or inspector/);
});
