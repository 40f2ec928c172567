import { expect, test } from "vitest";
import { z } from "zod";
import { MeshError } from "../bus-schemas/index.ts";
import { BASE_ENV, BaseConfig, loadConfig, suggest, type ConfigSources } from "./config.ts";

function errorOf(sources: ConfigSources): MeshError {
  try {
    loadConfig(BaseConfig, BASE_ENV, sources);
  } catch (error) {
    if (error instanceof MeshError) return error;
    throw error;
  }
  throw new Error("it was accepted");
}

test("flags win over the environment, that over the file, that over the default", () => {
  const load = (sources: ConfigSources) => loadConfig(BaseConfig, BASE_ENV, sources).cell;
  const file = { cell: "from-file" };
  const env = { TIERMESH_CELL: "from-env" };
  expect(load({})).toBe("main");
  expect(load({ file })).toBe("from-file");
  expect(load({ file, env })).toBe("from-env");
  expect(load({ file, env, flags: { cell: "from-flag" } })).toBe("from-flag");
});

test("an empty variable counts as unset", () => {
  expect(loadConfig(BaseConfig, BASE_ENV, { env: { TIERMESH_CELL: "", TIERMESH_HEALTH_PORT: "" } })).toMatchObject({
    cell: "main",
    healthPort: 0,
  });
});

test("a wrong value is refused by the name of the flag, variable or key it came from", () => {
  expect(errorOf({ env: { TIERMESH_CELL: "a.b" } }).message).toBe("TIERMESH_CELL: letters, digits, _ and -");
  expect(errorOf({ env: { TIERMESH_HEALTH_PORT: "http" } }).message).toMatch(/^TIERMESH_HEALTH_PORT: /);
  expect(errorOf({ env: { TIERMESH_HEALTH_PORT: "70000" } }).message).toMatch(/^TIERMESH_HEALTH_PORT: .*65535/);
  expect(errorOf({ flags: { healthPort: 1.5 } }).message).toMatch(/^--health-port: /);
  expect(errorOf({ file: { natsUrl: 7 }, fileName: "mesh.yaml" })).toMatchObject({
    code: "bad_config",
    field: "natsUrl",
  });
  expect(errorOf({ file: { natsUrl: 7 }, fileName: "mesh.yaml" }).message).toMatch(/^mesh\.yaml: natsUrl: /);
});

test("a secret that is wrong is not repeated in the message", () => {
  const schema = z.object({ natsPassword: z.string().max(5) });
  expect(() => loadConfig(schema, BASE_ENV, { env: { TIERMESH_NATS_PASSWORD: "hunter22" } })).toThrow(
    expect.objectContaining({ message: expect.not.stringContaining("hunter22") }) as Error,
  );
});

test("an unknown key of the file is refused, with the nearest known one", () => {
  expect(errorOf({ file: { natsUlr: "x" }, fileName: "mesh.yaml" }).message).toBe(
    'mesh.yaml: unknown key "natsUlr" (did you mean "natsUrl"?)',
  );
  expect(errorOf({ file: { constructor: "x" }, fileName: "mesh.yaml" }).message).toContain('unknown key "constructor"');
});

test("a suggestion is made only when it is near", () => {
  expect(suggest("max_latncy_ms", ["max_latency_ms", "retry_attempts"])).toBe(' (did you mean "max_latency_ms"?)');
  expect(suggest("LAYERS", ["layers"])).toBe(' (did you mean "layers"?)');
  expect(suggest("banana", ["max_latency_ms", "retry_attempts"])).toBe("");
  expect(suggest("x", [])).toBe("");
});
