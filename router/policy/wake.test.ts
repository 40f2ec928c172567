import fc from "fast-check";
import { expect, test } from "vitest";
import { ECHO, NOW_MS, fleetOf, nodeRecord, policyOf, routeRequest, servedModel } from "../../test/kit/routing.ts";
import { Fleet } from "./fleet.ts";
import { pickNode } from "./pick.ts";
import type { RouteRequest } from "./types.ts";
import { asIfAwake, helpOf } from "./wake.ts";

type Overrides = Parameters<typeof nodeRecord>[0];

/** A machine's last word before it slept. */
const asleep = (overrides: Overrides = {}) =>
  nodeRecord({
    status: "suspended",
    status_reason: "about to sleep",
    sleep: { mac: "02:00:00:00:00:01", network: "10.0.0.0/24" },
    seal_keys: [{ kid: "k1", public_key: "k".repeat(43), not_after_unix_ms: NOW_MS - 3_600_000 }],
    ...overrides,
  });
const help = (overrides: Overrides = {}, request: Partial<RouteRequest> = {}, inMs = 12_000, policy = policyOf()) =>
  helpOf(asIfAwake(asleep(overrides)), routeRequest(request), new Fleet(), policy, NOW_MS + inMs);

test("a machine that sleeps would take what it could take awake, with seal keys that it makes anew", () => {
  expect(help()).toBe("in_time");
  expect(help({}, { dataClass: "P0", encrypted: true })).toBe("in_time");
});

test.each<[string, Overrides, Partial<RouteRequest>]>([
  ["P0 for a machine in the cloud", { layer: "L2" }, { dataClass: "P0" }],
  ["P1 in clear for a machine in the cloud", { layer: "L2" }, { dataClass: "P1" }],
  ["P0 in clear", {}, { dataClass: "P0", encrypted: false }],
  ["a sealed job where there never was a key", { seal_keys: [] }, { dataClass: "P0" }],
  ["another model", {}, { model: "llama3.1-70b" }],
  ["what the model cannot", {}, { capabilities: ["vision"] }],
  ["more memory than it has", { hardware: { gpus: [{ name: "GPU", vram_total_gb: 8 }] } }, { vramGb: 24 }],
  ["a longer context than its model's", { served_models: [servedModel({ context_length: 100 })] }, {}],
  ["a job that was tried there", {}, { exclude: new Set(["n1"]) }],
  ["an echo", ECHO, { model: "echo" }],
])("it is not woken for %s", (_what, overrides, request) => {
  expect(help(overrides, request)).toBe("no");
});

test("the deadline counts from when it would be ready", () => {
  expect(help({}, { deadlineMs: NOW_MS + 14_000 })).toBe("in_time");
  expect(help({}, { deadlineMs: NOW_MS + 11_999 })).toBe("late");
  expect(help({}, { deadlineMs: NOW_MS + 11_999, model: "another" })).toBe("no");
});

test("that it was hot or busy, or its runtime ill, when it fell asleep does not count", () => {
  const hot = { hardware: { temperature_celsius: 99, gpus: [{ name: "GPU", temperature_celsius: 95 }] } };
  expect(help(hot)).toBe("in_time");
  expect(help({ load: { slots: 1, running: 1, queued: 4, queue_limit: 0 } })).toBe("in_time");
  expect(help({ runtimes: [{ name: "ollama", kind: "ollama", healthy: false }] })).toBe("in_time");
});

test("it is what a node just like it that is awake would say, whatever the job", () => {
  const layers = fc.constantFrom("L0" as const, "L1" as const, "L2" as const);
  const classes = fc.constantFrom("P0" as const, "P1" as const, "P2" as const);
  fc.assert(
    fc.property(
      layers,
      classes,
      fc.boolean(),
      fc.boolean(),
      fc.integer({ min: 1, max: 60_000 }),
      (layer, dataClass, encrypted, keyed, ms) => {
        const key = { kid: "k1", public_key: "k".repeat(43), not_after_unix_ms: 9_000_000_000_000 };
        const request = { dataClass, encrypted, deadlineMs: NOW_MS + ms };
        const awake = fleetOf(nodeRecord({ layer, seal_keys: keyed ? [key] : [] }));
        const taken = pickNode(routeRequest(request), awake, policyOf(), NOW_MS, () => 0.5) !== undefined;
        const asked = help({ layer, ...(keyed ? {} : { seal_keys: [] }) }, request, 0);
        expect(asked === "in_time").toBe(taken);
      },
    ),
  );
});
