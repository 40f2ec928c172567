import { z } from "zod";

const OCTET = "(?:25[0-5]|2[0-4]\\d|1?\\d?\\d)";
const IPV4 = `(?:${OCTET}\\.){3}${OCTET}`;

/** Of a network card, `aa:bb:cc:dd:ee:ff`. */
export const MacAddress = z.string().regex(/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/, "a MAC address");
/** An IPv4 address, `192.168.7.20`. */
export const Ipv4 = z.string().regex(new RegExp(`^${IPV4}$`), "an IPv4 address");
/** An IPv4 network, its host bits zero, `192.168.7.0/24`. */
export const Network = z.string().regex(new RegExp(`^${IPV4}/(?:3[0-2]|[12]?\\d)$`), "an IPv4 network");

/** The network of an address. @param bits of its prefix, 0 to 32 */
export function networkOf(address: string, bits: number): string {
  return `${toText(toNumber(address) & maskOf(bits))}/${bits}`;
}

/** The address that everybody in a network hears. */
export function broadcastOf(network: string): string {
  const [address = "", bits = "32"] = network.split("/");
  return toText(toNumber(address) | ~maskOf(Number(bits)));
}

export function isInNetwork(address: string, network: string): boolean {
  const bits = Number(network.split("/")[1] ?? 32);
  return networkOf(address, bits) === network;
}

function maskOf(bits: number): number {
  // A shift by 32 is one by 0.
  return bits === 0 ? 0 : (-1 << (32 - bits)) >>> 0;
}

function toNumber(address: string): number {
  return address.split(".").reduce((sum, part) => sum * 256 + Number(part), 0);
}

function toText(bits: number): string {
  return [24, 16, 8, 0].map((shift) => ((bits >>> shift) & 255).toString()).join(".");
}
