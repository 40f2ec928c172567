import { networkInterfaces } from "node:os";
import { MAX_NETWORKS, networkOf } from "../../bus-schemas/index.ts";

/** The UDP ports of a magic packet, by custom: discard and echo. The card looks at the payload alone. */
export const MAGIC_PORTS: readonly number[] = [9, 7];

/** A network of this machine, and its own address there. */
export interface OwnNetwork {
  network: string;
  address: string;
}

/** The IPv4 networks of this machine, without those that nobody else is in. */
export function ownNetworks(addresses: typeof networkInterfaces = networkInterfaces): OwnNetwork[] {
  const found: OwnNetwork[] = [];
  for (const own of Object.values(addresses()).flatMap((list) => list ?? [])) {
    if (own.family !== "IPv4" || own.internal || own.cidr === null) continue;
    const bits = Number(own.cidr.split("/")[1]);
    // Of a tunnel's end, and what a card gives itself when nobody answers it (RFC 3927).
    if (bits >= 31 || own.address.startsWith("169.254.")) continue;
    const network = networkOf(own.address, bits);
    if (!found.some((known) => known.network === network)) found.push({ network, address: own.address });
  }
  return found.slice(0, MAX_NETWORKS);
}
