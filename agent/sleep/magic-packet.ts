import { createSocket, type Socket } from "node:dgram";
import { MeshError, broadcastOf } from "../../bus-schemas/index.ts";
import { pause } from "../../service/loop.ts";
import { MAGIC_PORTS, type OwnNetwork } from "./this-network.ts";

/** Datagrams get lost, and nobody says so: each is sent so often, with a pause between, milliseconds. */
const REPEATS = 3;
const PAUSE_MS = 100;
/** Heard by all that are at the same cable, whatever their network (RFC 919). */
const LIMITED_BROADCAST = "255.255.255.255";

/** Six bytes FF and the address of the card sixteen times (AMD, "Magic Packet Technology", 1995). @param mac `aa:bb:cc:dd:ee:ff` */
export function magicPacket(mac: string): Buffer {
  const address = Buffer.from(mac.replaceAll(":", ""), "hex");
  return Buffer.concat([Buffer.alloc(6, 0xff), ...Array.from({ length: 16 }, () => address)]);
}

export interface MagicTarget {
  mac: string;
  /** Through which of this machine's networks. */
  through: OwnNetwork;
  /** Last known address of the machine; reaches it while a switch still knows its port. */
  address: string | null;
}

/**
 * Sends a magic packet to everybody in a network, to everybody at the cable, and to the machine's last address. That it was sent
 * is all that can be known.
 * @returns how many datagrams were handed to the network
 * @throws MeshError `not_supported`: the system lets none out, with its reason
 */
export async function sendMagicPacket(
  { mac, through, address }: MagicTarget,
  { ports = MAGIC_PORTS, pauseMs = PAUSE_MS }: { ports?: readonly number[]; pauseMs?: number } = {},
): Promise<number> {
  const packet = magicPacket(mac);
  const hosts = [broadcastOf(through.network), LIMITED_BROADCAST, ...(address === null ? [] : [address])];
  const targets = hosts.flatMap((host) => ports.map((port) => ({ host, port })));
  let sent = 0;
  let why = "";
  try {
    const socket = await openAt(through.address);
    try {
      for (let i = 0; i < REPEATS; i++) {
        if (i > 0) await pause(pauseMs);
        for (const { host, port } of targets) {
          const problem = await send(socket, packet, host, port);
          if (problem === undefined) sent++;
          else why = `${problem} to ${host}`;
        }
      }
    } finally {
      socket.close();
    }
  } catch (error) {
    why = codeOf(error);
  }
  if (sent === 0) throw new MeshError("not_supported", `no magic packet could be sent from here: ${why}`);
  return sent;
}

/** A socket that sends from this address, and so by its card. */
async function openAt(address: string): Promise<Socket> {
  const socket = createSocket("udp4");
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  socket.once("error", reject);
  socket.bind({ address, port: 0, exclusive: true }, resolve);
  try {
    await promise;
    socket.setBroadcast(true);
  } catch (error) {
    socket.close();
    throw error;
  }
  socket.removeAllListeners("error");
  // What becomes of a datagram later, such as that nobody is there, changes nothing.
  socket.on("error", () => undefined);
  return socket;
}

function send(socket: Socket, packet: Buffer, host: string, port: number): Promise<string | undefined> {
  return new Promise((resolve) =>
    socket.send(packet, port, host, (error) => resolve(error === null ? undefined : codeOf(error))),
  );
}

function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? "unknown error";
}
