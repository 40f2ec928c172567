import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { type AddressInfo, connect as dialRaw, createServer, type Socket } from "node:net";
import path from "node:path";
import { Writable } from "node:stream";
import { connect as dialTls } from "node:tls";
import { afterAll, beforeAll, expect, test } from "vitest";
import { connectBus, type BusAddress } from "../../service/bus.ts";
import { compareVersions } from "../../service/bus-server/server-version.ts";
import { ensureCertificates, issueServer, makeAuthority } from "../../service/certificates/index.ts";
import { createLog } from "../../service/log.ts";
import type { TestBus } from "../kit/bus.ts";
import { startProcessBus, startProcessCluster } from "../kit/process-bus.ts";
import { tempDir } from "../kit/temp-dir.ts";

const HOSTS = ["localhost", "127.0.0.1"];
const DAY_MS = 86_400_000;
const quiet = createLog("test", "silent");
const folder = tempDir("tiermesh-tls-");

/** Files of one server in a folder of their own. */
interface Files {
  certFile: string;
  keyFile: string;
  caFile: string;
}

let files: Files;
let secureBus: TestBus;
let plainBus: TestBus;
let strangeCa: string;

beforeAll(async () => {
  files = await ensureCertificates(path.join(folder.path, "good"), HOSTS, Date.now());
  strangeCa = (await ensureCertificates(path.join(folder.path, "strange"), HOSTS, Date.now())).caFile;
  [secureBus, plainBus] = await Promise.all([startProcessBus(files), startProcessBus()]);
});

afterAll(async () => {
  await Promise.all([secureBus.stop(), plainBus.stop()]);
  await folder.remove();
});

/** A server's files made by hand under an authority of their own, of the same name as the good one's. */
async function filesFor(name: string, hosts: string[], issuedAtMs = Date.now()): Promise<Files> {
  const at = (file: string) => path.join(folder.path, `${name}-${file}`);
  const authority = await makeAuthority({ name: "Tiermesh bus authority", nowMs: issuedAtMs });
  const { certPem, keyPem } = await issueServer({ authority, hosts, nowMs: issuedAtMs });
  const made = { certFile: at("server.pem"), keyFile: at("server.key"), caFile: at("ca.pem") };
  writeFileSync(made.certFile, certPem);
  writeFileSync(made.keyFile, keyPem, { mode: 0o600 });
  writeFileSync(made.caFile, authority.certPem);
  return made;
}

const addressOf = (bus: TestBus, more: Partial<BusAddress> = {}): BusAddress => ({
  url: bus.url,
  user: bus.user,
  password: bus.pass,
  ...more,
});

const failure = (address: BusAddress) =>
  connectBus("test", address, quiet).then(
    (bus) => bus.drain().then(() => "connected"),
    (error: unknown) => error,
  );

const unavailable = (message: RegExp) => ({ code: "bus_unavailable", message: expect.stringMatching(message) });

/** A log whose lines a test can wait for. */
function heard() {
  const lines: string[] = [];
  const sink = new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      lines.push(chunk.toString());
      done();
    },
  });
  return { log: createLog("test", "warn", sink), lines };
}

test("with the right authority a client connects by address and by name, encrypted, and is served", async () => {
  for (const url of [secureBus.url, secureBus.url.replace(/^.*:\/\/127\.0\.0\.1/, "nats://localhost")]) {
    const bus = await connectBus("test", addressOf(secureBus, { url, caFile: files.caFile }), quiet);
    expect(bus.nc.info?.tls_required).toBe(true);
    expect(bus.nc.info?.jetstream).toBe(true);
    bus.nc.subscribe("echo", { callback: (_error, msg) => void msg.respond(msg.data) });
    expect((await bus.nc.request("echo", "hello")).string()).toBe("hello");
    await bus.drain();
  }
});

test("the server speaks TLS 1.3, and nothing older where it can be told so", async () => {
  let served = "";
  const version = async (options: object) => {
    const socket = dialRaw(Number(new URL(secureBus.url).port), "127.0.0.1");
    const [greeting] = (await once(socket, "data")) as [Buffer];
    served = (JSON.parse(greeting.toString().slice("INFO ".length)) as { version: string }).version;
    const tls = dialTls({ socket, ca: readFileSync(files.caFile), servername: "localhost", ...options });
    try {
      await once(tls, "secureConnect");
      return tls.getProtocol();
    } catch {
      return "refused";
    } finally {
      tls.destroy();
    }
  };
  expect(await version({})).toBe("TLSv1.3");
  const older = await version({ maxVersion: "TLSv1.2" });
  expect(older).toBe(compareVersions(served, "2.11.0") < 0 ? "TLSv1.2" : "refused");
});

test("a wrong authority is refused, even one of the same name", async () => {
  expect(await failure(addressOf(secureBus, { caFile: strangeCa }))).toMatchObject(
    unavailable(/was not issued by the authority in .*strange.*ca\.pem/),
  );
});

test("a server that wants TLS is not reached without its authority, and the error says what to set", async () => {
  expect(await failure(addressOf(secureBus))).toMatchObject(unavailable(/wants TLS .* set TIERMESH_NATS_CA/));
  expect(await failure(addressOf(secureBus, { url: secureBus.url.replace(/^\w+:/, "nats:") }))).toMatchObject(
    unavailable(/wants TLS .* set TIERMESH_NATS_CA/),
  );
});

test("a server in clear is refused when an authority is configured or the URL says tls", async () => {
  const before = plainBus.url;
  expect(await failure(addressOf(plainBus, { caFile: files.caFile }))).toMatchObject(unavailable(/offers no TLS/));
  expect(await failure(addressOf(plainBus, { url: before.replace(/^nats:/, "tls:") }))).toMatchObject(
    unavailable(/offers no TLS/),
  );
  expect(await failure(addressOf(plainBus))).toBe("connected");
});

test("a certificate for another name or address is refused by name and by address", async () => {
  // Node alone checks an address as if it were "localhost"; this certificate is for exactly that.
  const forName = await filesFor("name", ["localhost"]);
  await using bus = await startProcessBus(forName);
  const port = new URL(bus.url).port;
  const to = (host: string) => failure(addressOf(bus, { url: `tls://${host}:${port}`, caFile: forName.caFile }));
  expect(await to("127.0.0.1")).toMatchObject(unavailable(/for another host \(DNS:localhost\)/));
  expect(await to("localhost")).toBe("connected");
  const forAddress = await filesFor("address", ["127.0.0.1"]);
  await using second = await startProcessBus(forAddress);
  const name = second.url.replace("127.0.0.1", "localhost");
  expect(await failure(addressOf(second, { url: name, caFile: forAddress.caFile }))).toMatchObject(
    unavailable(/for another host \(IP Address:127\.0\.0\.1\)/),
  );
  expect(await failure(addressOf(second, { caFile: forAddress.caFile }))).toBe("connected");
});

test("an expired certificate is refused as such", async () => {
  const old = await filesFor("old", HOSTS, Date.now() - 900 * DAY_MS);
  await using bus = await startProcessBus(old);
  expect(await failure(addressOf(bus, { caFile: old.caFile }))).toMatchObject(unavailable(/has expired/));
});

test("an authority's file that is not there or no certificate is named before anything is dialled", async () => {
  for (const [file, why] of [
    ["/no/such/ca.pem", /cannot be read \(ENOENT\)/],
    [files.keyFile, /holds no certificate/],
  ] as const) {
    expect(await failure({ url: "nats://127.0.0.1:1", caFile: file })).toMatchObject({
      code: "bad_config",
      field: "caFile",
      message: expect.stringMatching(why),
    });
  }
});

test("a bus that is simply not there is still said to be not there", async () => {
  expect(await failure({ url: "nats://127.0.0.1:1", caFile: files.caFile })).toMatchObject(
    unavailable(/no bus answers at/),
  );
});

test("a process that waits for its bus says in its log that TLS is in the way", async () => {
  const { log, lines } = heard();
  // It waits for ever, until the right authority is in the file: that is read anew at each attempt.
  const caFile = path.join(folder.path, "replaced.pem");
  writeFileSync(caFile, readFileSync(strangeCa));
  const connecting = connectBus("test", addressOf(secureBus, { caFile }), log, { retry: true });
  await expect.poll(() => lines.join("")).toContain("was not issued by the authority");
  writeFileSync(caFile, readFileSync(files.caFile));
  await (await connecting).drain();
});

test("a bus that comes back without its certificate is not returned to, and the log says so", async () => {
  await using bus = await startProcessBus(files);
  const { log, lines } = heard();
  const client = await connectBus("test", addressOf(bus, { caFile: files.caFile }), log);
  const authority = await filesFor("later", HOSTS);
  for (const [from, to] of [
    [authority.certFile, files.certFile],
    [authority.keyFile, files.keyFile],
  ] as const) {
    writeFileSync(`${to}.kept`, readFileSync(to));
    writeFileSync(to, readFileSync(from));
  }
  try {
    await bus.restart();
    await expect.poll(() => lines.join("")).toContain("was not issued by the authority");
    expect(client.connected()).toBe(false);
  } finally {
    for (const to of [files.certFile, files.keyFile]) writeFileSync(to, readFileSync(`${to}.kept`));
  }
  await bus.restart();
  await expect.poll(() => client.connected()).toBe(true);
  await client.drain();
});

test("what is slipped in between the greeting and TLS is not taken for the bus's word", async () => {
  const port = Number(new URL(secureBus.url).port);
  const forged = "MSG orders 1 6\r\nforged\r\n";
  const open = new Set<Socket>();
  let connections = 0;
  // Sits on the wire: adds a message, in clear, to the greetings when the client returns.
  const wire = createServer((client) => {
    const tampers = ++connections > 1 && connections <= 4;
    const server = dialRaw(port, "127.0.0.1");
    for (const socket of [client, server]) open.add(socket.on("error", () => undefined));
    server.once("data", (greeting) => {
      client.write(tampers ? Buffer.concat([greeting, Buffer.from(forged)]) : greeting);
      server.pipe(client);
    });
    client.pipe(server).on("close", () => client.destroy());
    client.on("close", () => server.destroy());
  }).listen(0, "127.0.0.1");
  await once(wire, "listening");
  const url = `tls://127.0.0.1:${(wire.address() as AddressInfo).port}`;
  const { log, lines } = heard();
  const bus = await connectBus("test", addressOf(secureBus, { url, caFile: files.caFile }), log);
  const orders: string[] = [];
  bus.listen("orders", (msg) => orders.push(msg.string()));
  await bus.nc.flush();
  for (const socket of open) socket.destroy();
  // Comes back over a connection that nobody tampered with, and is served there.
  await expect.poll(() => connections > 4 && bus.connected()).toBe(true);
  expect(lines.join("")).toContain("may be tampering");
  bus.nc.publish("orders", "real");
  await expect.poll(() => orders).toContain("real");
  expect(orders).toEqual(["real"]);
  await bus.drain();
  wire.close();
});

test("a cluster of three forms over routes with TLS, and clients learn of all its servers", async () => {
  await using cluster = await startProcessCluster(3, files);
  const varz = async () => (await fetch(new URL("/varz", cluster.nodes[0]?.monitorUrl))).json();
  // A complete cluster: its greeting is all that a client hears of the other servers.
  await expect.poll(varz).toMatchObject({ connect_urls: { length: 3 } });
  const bus = await connectBus(
    "test",
    { url: cluster.servers[0] ?? "", user: cluster.user, password: cluster.pass, caFile: files.caFile },
    quiet,
  );
  expect(bus.nc.info?.tls_required).toBe(true);
  expect(await varz()).toMatchObject({ cluster: { tls_required: true }, tls_required: true });
  // The first server goes: the client moves to one that it knows from the cluster alone, by its address.
  await cluster.nodes[0]?.kill();
  await expect.poll(() => bus.connected() && bus.nc.getServer() !== new URL(cluster.servers[0] ?? "").host).toBe(true);
  expect(await bus.nc.rtt()).toBeGreaterThanOrEqual(0);
  await bus.drain();
});

test("who names one server of a complete cluster goes on with the others, though only the greeting named them", async () => {
  await using cluster = await startProcessCluster(3);
  const address = { url: cluster.servers[0] ?? "", user: cluster.user, password: cluster.pass };
  const buses = await Promise.all(Array.from({ length: 5 }, () => connectBus("test", address, quiet)));
  await cluster.nodes[0]?.kill();
  const gone = new URL(address.url).host;
  await expect.poll(() => buses.filter(({ nc }) => nc.getServer() === gone || nc.isClosed())).toEqual([]);
  for (const bus of buses) {
    await expect.poll(() => bus.connected()).toBe(true);
    await bus.drain();
  }
});
