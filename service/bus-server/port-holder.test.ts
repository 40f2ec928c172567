import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { expect, test } from "vitest";
import { describeHolder, listenInodes, lsofPid, netstatPid, whoHoldsPort } from "./port-holder.ts";

const PROC_NET_TCP = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:107E 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 31337 1 0000000000000000 100 0 0 10 0
   1: 0100007F:9C40 0100007F:107E 01 00000000:00000000 00:00000000 00000000     0        0 31338 1 0000000000000000 20 4 30 10 -1
   2: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 222 1 0000000000000000 100 0 0 10 0
`;

test("only listening sockets on the port count, not connections to it", () => {
  expect(listenInodes(PROC_NET_TCP, 4222)).toEqual(["31337"]);
  expect(listenInodes(PROC_NET_TCP, 22)).toEqual(["222"]);
  expect(listenInodes(PROC_NET_TCP, 40_000)).toEqual([]);
  expect(listenInodes("", 4222)).toEqual([]);
});

test("lsof's field output gives the process", () => {
  expect(lsofPid("p4711\nf7\n")).toBe(4711);
  expect(lsofPid("")).toBeUndefined();
});

test("Windows' netstat gives the listener whatever the language", () => {
  const output = [
    "  Proto  Lokale Adresse         Remoteadresse          Status           PID",
    "  TCP    127.0.0.1:51000        127.0.0.1:4222         HERGESTELLT      9000",
    "  TCP    127.0.0.1:14222        0.0.0.0:0              ABHÖREN          8000",
    "  TCP    127.0.0.1:4222         0.0.0.0:0              ABHÖREN          4712",
    "  TCP    [::]:4223              [::]:0                 ABHÖREN          4713",
  ].join("\r\n");
  expect(netstatPid(output, 4222)).toBe(4712);
  expect(netstatPid(output, 4223)).toBe(4713);
  expect(netstatPid(output, 51_000)).toBeUndefined();
});

test("our own listener is found with its command line, and nobody once it is closed", async () => {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const holder = await whoHoldsPort(port);
  expect(holder?.pid).toBe(process.pid);
  expect(holder?.command).not.toBe("");
  server.close();
  await once(server, "close");
  expect(await whoHoldsPort(port)).toBeUndefined();
});

test("a holder is described in one clause, with a long command cut short", () => {
  expect(describeHolder({ pid: 7, command: "nats-server -c x" })).toBe("pid 7 (nats-server -c x)");
  expect(describeHolder({ pid: 7, command: "" })).toBe("pid 7");
  expect(describeHolder({ pid: 7, command: "x".repeat(500) }).length).toBeLessThan(220);
  expect(describeHolder(undefined)).toMatch(/another process/);
});
