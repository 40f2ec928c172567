import { X509Certificate } from "node:crypto";
import { existsSync, readFileSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { readNkeyFile } from "../../service/access/nkey-file.ts";
import { tempDir } from "../../test/kit/temp-dir.ts";
import { accessOf } from "./access.ts";
import { busCertificates } from "./bus-certificates.ts";
import { makeBundle, type ClusteredSettings } from "./bundle.ts";
import { checkBusSettings, readBusSettings } from "./bus-settings.ts";
import { BusUsers } from "./bus-users.ts";
import { parseRoutes } from "./cluster.ts";
import { initBus } from "./init.ts";

function folder(): string {
  const made = tempDir("tiermesh-bundle-");
  onTestFinished(() => made.remove());
  return made.path;
}

function settings(routes = "10.0.0.1,10.0.0.2,bus3.example"): ClusteredSettings {
  const cluster = { name: "c", server: "n1", servers: parseRoutes(routes) };
  return checkBusSettings({ cluster }, "test") as ClusteredSettings;
}

const filesOf = (path: string) =>
  readdirSync(path, { recursive: true, withFileTypes: true }).map((entry) => join(entry.parentPath, entry.name));

test("each server has its keeper's key and of the others the public half; nothing is readable by others", async () => {
  const out = folder();
  const { access, servers } = await makeBundle(out, settings(), {});
  expect(servers.map((path) => path.slice(out.length + 1))).toEqual(["n1", "n2", "n3"]);
  for (const server of servers) {
    const keys = readdirSync(join(server, "bus", "keys"));
    expect(keys.filter((name) => name.endsWith(".nk"))).toEqual(["keeper.nk"]);
    expect(keys).toContain("router.pub");
    expect(existsSync(join(server, "bus", "tls", "ca.key"))).toBe(false);
  }
  for (const path of access) expect(readdirSync(path).filter((name) => name.endsWith(".nk"))).toHaveLength(1);
  for (const path of filesOf(out)) expect(statSync(path).mode & 0o077).toBe(0);
});

test("all servers have the same users, and each a certificate for its own address", async () => {
  const out = folder();
  const { keep } = await makeBundle(out, settings(), {});
  const accounts = (path: string) => new BusUsers(path, "main", []).render([], 0);
  for (const [server, host] of [
    ["n1", "10.0.0.1"],
    ["n2", "10.0.0.2"],
    ["n3", "0.0.0.0"],
  ] as const) {
    const path = join(out, server, "bus");
    expect(accounts(path)).toBe(accounts(keep));
    expect(readFileSync(join(path, "bus-credentials.json"), "utf8")).toBe(
      readFileSync(join(keep, "bus-credentials.json"), "utf8"),
    );
    const own = readBusSettings(path);
    expect([own.host, own.cluster?.server]).toEqual([host, server]);
    // As its own start sees it: nothing has to be made, for which it has no key.
    const certificates = await busCertificates(path, own, () => undefined);
    expect(certificates?.changed).toBe(false);
    const { subjectAltName } = new X509Certificate(readFileSync(certificates?.files.certFile ?? ""));
    expect(subjectAltName).toContain(server === "n3" ? "bus3.example" : host);
  }
});

test("made anew with one server more, keys and authority stay", async () => {
  const out = folder();
  await makeBundle(out, settings(), {});
  const before = readFileSync(join(out, "access", "router", "router.nk"), "utf8");
  const { existed, servers } = await makeBundle(out, settings("10.0.0.1,10.0.0.2,bus3.example,10.0.0.4,10.0.0.5"), {});
  expect([existed, servers.length]).toEqual([true, 5]);
  expect(readFileSync(join(out, "access", "router", "router.nk"), "utf8")).toBe(before);
  const authority = (server: string) => readFileSync(join(out, server, "bus", "tls", "ca.pem"), "utf8");
  expect(authority("n5")).toBe(authority("n1"));
});

test("a bus that grows into a cluster keeps its keys, its authority and its nodes, and the others wait for it", async () => {
  const lone = join(folder(), "bus");
  await initBus(lone, checkBusSettings({ host: "0.0.0.0", urls: ["tls://10.0.0.1:4222"] }, "test"), () => undefined);
  const out = folder();
  await makeBundle(out, settings(), { from: lone });
  for (const key of ["router.nk", "operator.nk", "keeper.nk"])
    expect(readFileSync(join(out, "keep", "keys", key), "utf8")).toBe(readFileSync(join(lone, "keys", key), "utf8"));
  expect(readFileSync(join(out, "n2", "bus", "tls", "ca.pem"), "utf8")).toBe(
    readFileSync(join(lone, "tls", "ca.pem"), "utf8"),
  );
  expect(readBusSettings(join(out, "n2", "bus")).cluster?.first).toBe("n1");
});

test("a part finds its bus by the folder access, and is told which file is damaged", async () => {
  const out = folder();
  await makeBundle(out, settings(), {});
  const home = join(out, "home");
  const { cpSync, writeFileSync } = await import("node:fs");
  cpSync(join(out, "access", "router"), join(home, "access"), { recursive: true });
  const address = accessOf("router", home);
  expect(address).toMatchObject({
    url: "tls://10.0.0.1:4222,tls://10.0.0.2:4222,tls://bus3.example:4222",
    cell: "main",
    caFile: join(home, "access", "ca.pem"),
  });
  expect(readNkeyFile(address?.nkeyFile ?? "").publicKey).toBe(
    new BusUsers(join(out, "n1", "bus"), "main", []).publicKey("router"),
  );
  expect(accessOf("gateway", home)).toBeUndefined();
  writeFileSync(join(home, "access", "access.json"), "{}");
  expect(() => accessOf("router", home)).toThrow("access.json: cannot be read");
});
