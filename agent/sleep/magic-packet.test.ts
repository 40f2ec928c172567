import { createSocket } from "node:dgram";
import { expect, onTestFinished, test } from "vitest";
import { magicPacket, sendMagicPacket } from "./magic-packet.ts";

const MAC = "ac:de:48:00:11:22";
const LOOPBACK = { network: "127.0.0.0/8", address: "127.0.0.1" };

/** A card that listens at an address: what it hears, and from where. */
async function card(address: string, wanted: number) {
  const socket = createSocket("udp4");
  const heard: { bytes: string; from: string }[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  socket.on("message", (bytes, { address: from }) => {
    heard.push({ bytes: bytes.toString("hex"), from });
    if (heard.length === wanted) resolve();
  });
  await new Promise<void>((bound) => socket.bind(0, address, bound));
  onTestFinished(() => new Promise((closed) => socket.close(() => closed())));
  return { port: socket.address().port, heard, all: promise };
}

test("a magic packet is six bytes FF and the card's address sixteen times", () => {
  const packet = magicPacket(MAC);
  expect(packet.length).toBe(102);
  expect(packet.toString("hex")).toBe("ff".repeat(6) + "acde48001122".repeat(16));
});

test("a machine hears it three times at its last address", async () => {
  const { port, heard, all } = await card("127.0.0.1", 3);
  const sent = await sendMagicPacket(
    { mac: MAC, through: LOOPBACK, address: "127.0.0.1" },
    { ports: [port], pauseMs: 0 },
  );
  await all;
  expect(heard).toEqual(Array(3).fill({ bytes: magicPacket(MAC).toString("hex"), from: "127.0.0.1" }));
  expect(sent).toBeGreaterThanOrEqual(3);
});

test("everybody in the network hears it, on each port", async () => {
  // Elsewhere than on Linux loopback has no broadcast address that can be listened on.
  if (process.platform !== "linux") return;
  const [one, other] = [await card("127.255.255.255", 3), await card("127.255.255.255", 3)];
  await sendMagicPacket({ mac: MAC, through: LOOPBACK, address: null }, { ports: [one.port, other.port], pauseMs: 0 });
  await Promise.all([one.all, other.all]);
  expect(one.heard[0]?.bytes).toBe(magicPacket(MAC).toString("hex"));
});

test("an address that is not this machine's is told as what it is", async () => {
  await expect(
    sendMagicPacket({ mac: MAC, through: { network: "192.0.2.0/24", address: "192.0.2.7" }, address: null }),
  ).rejects.toMatchObject({ code: "not_supported", message: expect.stringContaining("EADDRNOTAVAIL") as string });
});

test("a system that lets no datagram out is told as what it is", async () => {
  // Port 0 can be sent nothing.
  await expect(
    sendMagicPacket({ mac: MAC, through: LOOPBACK, address: "127.0.0.1" }, { ports: [0], pauseMs: 0 }),
  ).rejects.toMatchObject({ code: "not_supported" });
});
