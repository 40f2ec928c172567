import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { isReachable, proxyFor } from "./reachable.ts";

async function listening(): Promise<number> {
  const server = createServer((socket) => socket.destroy()).listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => void server.close());
  return (server.address() as AddressInfo).port;
}

test("a host that accepts is reachable, a closed port and a nonsense URL are not", async () => {
  const port = await listening();
  expect(await isReachable(`http://127.0.0.1:${port}/x`, {})).toBe(true);
  expect(await isReachable("http://127.0.0.1:1/", {})).toBe(false);
  expect(await isReachable("http://no-such-host.invalid/", {})).toBe(false);
});

test("with a proxy set it is the proxy that must accept", async () => {
  const port = await listening();
  expect(await isReachable("https://no-such-host.invalid/", { HTTPS_PROXY: `127.0.0.1:${port}` })).toBe(true);
  expect(await isReachable("https://no-such-host.invalid/", { HTTPS_PROXY: "not a url at all" })).toBe(false);
});

test("a host that never answers costs no more than the limit", async () => {
  // 192.0.2.0/24 is kept for documentation (RFC 5737): nothing answers there.
  expect(await isReachable("http://192.0.2.1/", {}, undefined, 50)).toBe(false);
});

test("an abort ends the attempt", async () => {
  expect(await isReachable("http://192.0.2.1/", {}, AbortSignal.abort())).toBe(false);
});

test("the usual proxy variables are understood, in either case, with exceptions", () => {
  expect(proxyFor("https://a.example/", {})).toBeUndefined();
  expect(proxyFor("https://a.example/", { https_proxy: "http://p:1" })).toBe("http://p:1");
  expect(proxyFor("https://a.example/", { HTTPS_PROXY: "p:1" })).toBe("http://p:1");
  expect(proxyFor("http://a.example/", { HTTPS_PROXY: "p:1" })).toBeUndefined();
  for (const direct of ["*", "a.example", ".example", "*.example", "b, example"]) {
    expect(proxyFor("https://a.example/", { https_proxy: "p:1", NO_PROXY: direct })).toBeUndefined();
  }
  expect(proxyFor("https://an.example2/", { https_proxy: "p:1", no_proxy: "example,," })).toBe("http://p:1");
});
