import { expect, test } from "vitest";
import { NOW_MS, fleetOf, lookedAt, nodeRecord, policyOf, routeRequest } from "../../../test/kit/routing.ts";
import { encryption, sealKeyOf } from "./encryption.ts";

test("P0 goes only sealed, P1 and P2 any way, by SEED's policy", () => {
  const fleet = fleetOf(nodeRecord());
  const open = routeRequest({ encrypted: false, dataClass: "P0" });
  expect(encryption.reject(...lookedAt(fleet, open))).toMatch(/must be sealed/);
  expect(encryption.reject(...lookedAt(fleet, { ...open, encrypted: true }))).toBeUndefined();
  expect(encryption.reject(...lookedAt(fleet, { ...open, dataClass: "P1" }))).toBeUndefined();
});

test("a node without a key that lasts as long as a ticket gets no sealed job, but any other", () => {
  const key = { kid: "k", public_key: "k".repeat(42) + "A", not_after_unix_ms: NOW_MS + 30_000 };
  for (const record of [
    nodeRecord({ seal_keys: [] }),
    nodeRecord({ seal_keys: [key] }),
    nodeRecord({ boot_id: null }),
  ]) {
    const job = (dataClass: "P0" | "P2") => lookedAt(fleetOf(record), routeRequest({ dataClass, encrypted: true }));
    expect(encryption.reject(...job("P0"))).toMatch(/no key/);
    expect(encryption.reject(...job("P2"))).toBeUndefined();
  }
});

test("of several keys the one that lasts longest is sealed to", () => {
  const key = (kid: string, days: number) => ({
    kid,
    public_key: "k".repeat(42) + "A",
    not_after_unix_ms: NOW_MS + days * 86_400_000,
  });
  const record = nodeRecord({ seal_keys: [key("a", 1), key("b", 3), key("c", 2)] });
  expect(sealKeyOf(record, NOW_MS)?.kid).toBe("b");
  expect(sealKeyOf(record, NOW_MS + 4 * 86_400_000)).toBeUndefined();
});

test("a policy may want any class sealed", () => {
  const { security } = policyOf().routing;
  const policy = policyOf({ security: { ...security, P2: { ...security.P2, require_encryption: true } } });
  const job = routeRequest({ encrypted: false });
  expect(encryption.reject(...lookedAt(fleetOf(nodeRecord()), job, policy))).toMatch(/must be sealed/);
});
