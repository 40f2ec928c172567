import { expect, test } from "vitest";
import { NetworkList } from "./network-list.ts";
import { ownNetworks } from "./this-network.ts";

const of = (...cidrs: (string | null)[]) =>
  ownNetworks(() => ({
    eth0: cidrs.map((cidr) => ({
      address: cidr?.split("/")[0] ?? "10.9.9.9",
      netmask: "",
      family: "IPv4",
      mac: "",
      internal: cidr?.startsWith("127.") ?? false,
      cidr,
    })),
    eth1: [
      { address: "fe80::1", netmask: "", family: "IPv6", mac: "", internal: false, cidr: "fe80::1/64", scopeid: 1 },
    ],
  }));

test("a machine's networks are those of its IPv4 addresses", () => {
  expect(of("192.168.7.5/24", "10.1.2.3/8")).toEqual([
    { network: "192.168.7.0/24", address: "192.168.7.5" },
    { network: "10.0.0.0/8", address: "10.1.2.3" },
  ]);
});

test("loopback, a tunnel's end, what a card gave itself and what has no mask are none", () => {
  expect(of("127.0.0.1/8", "10.8.0.2/32", "10.8.0.2/31", "169.254.3.4/16", null)).toEqual([]);
});

test("two addresses in one network are one network, and a record has room for eight", () => {
  expect(of("192.168.7.5/24", "192.168.7.6/24")).toHaveLength(1);
  expect(of(...Array.from({ length: 20 }, (_, i) => `10.0.${i}.1/24`))).toHaveLength(8);
});

test("the system is asked every half minute, and at once after a sleep", () => {
  const state = { nowMs: 0, network: "10.0.0.0/24" };
  const list = new NetworkList(
    () => state.nowMs,
    () => [{ network: state.network, address: "" }],
  );
  expect(list.look()).toEqual(["10.0.0.0/24"]);
  state.network = "10.0.1.0/24";
  state.nowMs = 29_999;
  expect(list.look()).toEqual(["10.0.0.0/24"]);
  state.nowMs = 30_000;
  expect(list.look()).toEqual(["10.0.1.0/24"]);
  state.network = "10.0.2.0/24";
  list.forget();
  expect(list.look()).toEqual(["10.0.2.0/24"]);
});
