import { execFileSync, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { createServer as createTcpServer, connect, type AddressInfo, type Socket } from "node:net";
import { createServer as createHttpServer, type IncomingMessage } from "node:http";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { fail, startProvider } from "../../test/kit/provider-servers.ts";
import { tempDir } from "../../test/kit/temp-dir.ts";
import { createProviderHttp, readErrorBody } from "./provider-http.ts";

const never = new AbortController().signal;
const OK = fail(200, { ok: true });
/** Makes the certificate; where it is missing (Windows) what needs TLS is skipped. */
const haveOpenssl = spawnSync("openssl", ["version"]).status === 0;
const folder = tempDir("tiermesh-tls-");
afterAll(() => folder.remove());
let tls: { key: string; cert: string };
beforeAll(() => {
  if (!haveOpenssl) return;
  const [key, cert] = [path.join(folder.path, "key.pem"), path.join(folder.path, "cert.pem")];
  const subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"];
  const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  execFileSync("openssl", ["req", "-x509", ...curve, "-days", "2", ...subject, "-keyout", key, "-out", cert], {
    stdio: "ignore",
  });
  tls = { key: readFileSync(key, "utf8"), cert: readFileSync(cert, "utf8") };
});

const BODY = Buffer.from(JSON.stringify({ a: 1 }));
const request = (url: string, headers = {}) => ({ url: `${url}/x`, headers, body: BODY });
const failed = (promise: Promise<IncomingMessage>) =>
  promise.then(
    () => "it answered",
    (error: NodeJS.ErrnoException) => error.code,
  );

test.skipIf(!haveOpenssl)(
  "over TLS the certificate is checked: an unknown authority is refused, one named by the file is trusted",
  async () => {
    await using server = await startProvider(OK, tls);
    expect(await failed(createProviderHttp({}, undefined).post(request(server.url), never))).toBe(
      "DEPTH_ZERO_SELF_SIGNED_CERT",
    );
    // Nobody saw a key or a prompt.
    expect(server.requests).toEqual([]);
    const response = await createProviderHttp({}, tls.cert).post(
      request(server.url, { authorization: "Bearer k" }),
      never,
    );
    expect(await readErrorBody(response)).toBe('{"ok":true}');
    expect(server.requests).toMatchObject([{ method: "POST", headers: { authorization: "Bearer k" }, json: { a: 1 } }]);
  },
);

test.skipIf(!haveOpenssl)("a certificate of another name is refused", async () => {
  await using server = await startProvider(OK, tls);
  const url = server.url.replace("127.0.0.1", "localhost");
  expect(await failed(createProviderHttp({}, tls.cert).post(request(url), never))).toBe("ERR_TLS_CERT_ALTNAME_INVALID");
  expect(server.requests).toEqual([]);
});

test("a host that never finishes the handshake is given up after the connect limit", async () => {
  const sockets: Socket[] = [];
  const mute = createTcpServer((socket) => void sockets.push(socket.on("error", () => undefined)));
  await new Promise<void>((resolve) => mute.listen(0, "127.0.0.1", resolve));
  const url = `https://127.0.0.1:${(mute.address() as AddressInfo).port}`;
  expect(await failed(createProviderHttp({}, undefined, 50).post(request(url), never))).toBe("ETIMEDOUT");
  for (const socket of sockets) socket.destroy();
  mute.close();
});

test.skipIf(!haveOpenssl)("the limit is for the connection only: a slow answer may take longer", async () => {
  await using server = await startProvider((...args) => void setTimeout(() => OK(...args), 200), tls);
  const response = await createProviderHttp({}, tls.cert, 100).post(request(server.url), never);
  expect(response.statusCode).toBe(200);
  response.destroy();
});

test.skipIf(!haveOpenssl)(
  "HTTPS_PROXY is used for TLS, sees only the host's name, and never plain loopback",
  async () => {
    await using server = await startProvider(OK, tls);
    await using plain = await startProvider(OK);
    const asked: string[] = [];
    let bytes = "";
    const proxy = createHttpServer();
    proxy.on("connect", (incoming: IncomingMessage, client: Socket) => {
      asked.push(`${incoming.url} ${JSON.stringify(incoming.headers)}`);
      const { port, hostname } = new URL(`https://${incoming.url}`);
      const upstream = connect(Number(port), hostname, () => client.write("HTTP/1.1 200 OK\r\n\r\n"));
      client.on("data", (data) => (bytes += data.toString("latin1")));
      client.on("error", () => undefined);
      upstream.on("error", () => undefined);
      client.pipe(upstream).pipe(client);
    });
    await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
    const env = { HTTPS_PROXY: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}` };
    const http = createProviderHttp({ ...env, HTTP_PROXY: env.HTTPS_PROXY }, tls.cert);
    const secret = { authorization: "Bearer sk-secret" };
    (await http.post(request(server.url, secret), never)).destroy();
    (await http.post(request(plain.url, secret), never)).destroy();
    expect(asked).toHaveLength(1);
    expect(asked[0]).toContain(server.url.slice("https://".length));
    expect(asked[0] + bytes).not.toContain("sk-secret");
    const direct = createProviderHttp({ ...env, NO_PROXY: "127.0.0.1" }, tls.cert);
    (await direct.post(request(server.url), never)).destroy();
    expect(asked).toHaveLength(1);
    proxy.closeAllConnections();
    proxy.close();
  },
);

test("a kept connection that the provider cuts just as it is used again is replaced", async () => {
  await using server = await startProvider(OK);
  const http = createProviderHttp({}, undefined);
  const sockets = new Map<unknown, number>();
  let cuts = 0;
  server.behave = (incoming, response, body) => {
    const uses = (sockets.get(incoming.socket) ?? 0) + 1;
    sockets.set(incoming.socket, uses);
    if (uses === 1) return OK(incoming, response, body);
    cuts++;
    incoming.socket.resetAndDestroy();
  };
  await expect
    .poll(async () => {
      const response = await http.post(request(server.url), never);
      await readErrorBody(response);
      return cuts;
    })
    .toBeGreaterThan(0);
});

test("a first connection that is cut is a failure, and so is nobody there", async () => {
  const server = await startProvider((incoming) => void incoming.socket.resetAndDestroy());
  const http = createProviderHttp({}, undefined);
  expect(await failed(http.post(request(server.url), never))).toBe("ECONNRESET");
  expect(server.requests).toHaveLength(1);
  await server[Symbol.asyncDispose]();
  expect(await failed(http.post(request(server.url), never))).toBe("ECONNREFUSED");
});
