import { expect, test } from "vitest";
import { Ipv4, MacAddress, Network, broadcastOf, isInNetwork, networkOf } from "./index.ts";

test.each([
  ["10.1.2.3", 8, "10.0.0.0/8", "10.255.255.255"],
  ["172.20.33.7", 20, "172.20.32.0/20", "172.20.47.255"],
  ["192.168.1.9", 30, "192.168.1.8/30", "192.168.1.11"],
  ["203.0.113.200", 32, "203.0.113.200/32", "203.0.113.200"],
  ["203.0.113.200", 0, "0.0.0.0/0", "255.255.255.255"],
])("%s with %i bits is in %s, where everybody hears %s", (address, bits, network, broadcast) => {
  expect(networkOf(address, bits)).toBe(network);
  expect(broadcastOf(network)).toBe(broadcast);
  expect(isInNetwork(address, network)).toBe(true);
  expect(Network.parse(network)).toBe(network);
});

test("an address of another network is none of this one", () => {
  expect(isInNetwork("192.168.8.1", "192.168.7.0/24")).toBe(false);
  expect(isInNetwork("192.168.7.1", "192.168.7.0/24")).toBe(true);
});

test("what is no address is refused", () => {
  for (const text of ["256.1.1.1", "1.2.3", "1.2.3.4.5", "a.b.c.d", "", "::1"])
    expect([text, Ipv4.safeParse(text).success]).toEqual([text, false]);
  for (const text of ["10.0.0.0", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/8x"])
    expect([text, Network.safeParse(text).success]).toEqual([text, false]);
  for (const text of ["AA:bb:cc:dd:ee:ff", "aa:bb:cc:dd:ee", "aabbccddeeff", "aa:bb:cc:dd:ee:ff:00"])
    expect([text, MacAddress.safeParse(text).success]).toEqual([text, false]);
});
