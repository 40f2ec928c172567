import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { chmodSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import path from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { tempDir } from "../../../test/kit/temp-dir.ts";
import { RELEASE_PINS } from "./release-pins.ts";
import { releaseSource } from "./release.ts";

const NAME = "nats-server-v2.15.0-linux-amd64";

function folder(): string {
  const dir = tempDir();
  onTestFinished(() => dir.remove());
  return dir.path;
}

/** A release archive with a stand-in server in it, packed as the real ones are. */
function archive(): Buffer {
  const root = folder();
  mkdirSync(path.join(root, NAME));
  const file = path.join(root, NAME, "nats-server");
  writeFileSync(file, '#!/bin/sh\necho "nats-server: v2.15.0"\n');
  chmodSync(file, 0o755);
  execFileSync("tar", ["-czf", path.join(root, "a.tar.gz"), "-C", root, NAME]);
  return readFileSync(path.join(root, "a.tar.gz"));
}

async function serve(listener: RequestListener): Promise<string> {
  const server = createServer(listener).listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => void server.close().closeAllConnections());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function source(baseUrl: string, content: Buffer, target = "here") {
  const sha256 = createHash("sha256").update(content).digest("hex");
  return releaseSource(baseUrl, { here: { version: "2.15.0", archive: `${NAME}.tar.gz`, sha256 } }, target);
}

test.skipIf(process.platform === "win32")(
  "the pinned archive is fetched through redirects, checked, unpacked and kept",
  async () => {
    const content = archive();
    const base = await serve((request, response) => {
      if (request.url === `/v2.15.0/${NAME}.tar.gz`) response.writeHead(302, { location: "/elsewhere" }).end();
      else if (request.url === "/elsewhere") response.end(content);
      else response.writeHead(404).end();
    });
    const cacheDir = folder();
    const told: string[] = [];
    const found = await source(base, content).obtain({ env: {}, cacheDir, onProgress: (line) => told.push(line) });
    expect(found).toEqual({ path: path.join(cacheDir, "nats-server", "2.15.0", "nats-server"), version: "2.15.0" });
    expect(told).toEqual([expect.stringMatching(/^downloading nats-server 2\.15\.0 from 127\.0\.0\.1/)]);
  },
);

test.skipIf(process.platform === "win32")("an archive with one byte changed is thrown away unopened", async () => {
  const content = archive();
  const changed = Buffer.from(content);
  changed[changed.length - 1] = (changed.at(-1) ?? 0) ^ 1;
  const base = await serve((_request, response) => response.end(changed));
  const cacheDir = folder();
  const found = await source(base, content).obtain({ env: {}, cacheDir, onProgress: () => {} });
  expect(found).toMatchObject({ none: expect.stringContaining("not the pinned") });
  expect(readdirSync(path.join(cacheDir, "nats-server"))).toEqual([]);
});

test("a platform without a known hash is not served, and nothing is asked of the network", async () => {
  let asked = 0;
  const base = await serve((_request, response) => {
    asked++;
    response.end();
  });
  const found = await source(base, Buffer.from("x"), "plan9-mips").obtain({
    env: {},
    cacheDir: folder(),
    onProgress: () => {},
  });
  expect(found).toEqual({ none: "no archive with a known SHA-256 for plan9-mips" });
  expect(asked).toBe(0);
});

test("a closed network, an error status and an endless redirect each give their reason", async () => {
  const context = { env: {}, cacheDir: folder(), onProgress: () => {} };
  const content = Buffer.from("x");
  expect(await source("http://127.0.0.1:1", content).obtain(context)).toEqual({
    none: "127.0.0.1:1 cannot be reached",
  });
  const broken = await serve((_request, response) => response.writeHead(503).end());
  await expect(source(broken, content).obtain(context)).rejects.toThrow(/answered 503/);
  const circle = await serve((_request, response) => response.writeHead(302, { location: "/again" }).end());
  await expect(source(circle, content).obtain(context)).rejects.toThrow(/redirects/);
});

test("every pin is a full SHA-256 of an archive of its own version", () => {
  for (const pin of Object.values(RELEASE_PINS)) {
    expect(pin.sha256).toMatch(/^[0-9a-f]{64}$/);
    expect(pin.archive).toContain(`-v${pin.version}-`);
  }
});
