import path from "node:path";
import { expect, test } from "vitest";
import { MAX_PAYLOAD_BYTES, renderConfig } from "./server-config.ts";

const password = { user: "u", password: "p" };
const base = {
  host: "127.0.0.1",
  port: 0,
  access: password,
  routeSecret: password,
  stateDir: path.join("/var", "bus"),
};

test("port 0 becomes -1, because 0 means the default port to nats-server", () => {
  expect(renderConfig(base)).toContain("port: -1\n");
  expect(renderConfig({ ...base, port: 4222 })).toContain("port: 4222\n");
});

test("monitoring is off unless asked for, and on the same address", () => {
  expect(renderConfig(base)).not.toContain("http");
  expect(renderConfig({ ...base, monitorPort: 0 })).toContain('http: "127.0.0.1:-1"');
  expect(renderConfig({ ...base, monitorPort: 8222 })).toContain('http: "127.0.0.1:8222"');
});

test("a Windows path is written so that the server reads it back", () => {
  const text = renderConfig({ ...base, stateDir: "C:\\Users\\ada\\tiermesh" });
  expect(text).toContain("C:\\\\Users\\\\ada\\\\tiermesh");
});

test("users come from the accounts file where there is one, and from nowhere else", () => {
  expect(renderConfig(base)).toContain('authorization { user: "u", password: "p" }');
  const text = renderConfig({ ...base, access: { accountsFile: path.join("/var", "bus", "accounts.conf") } });
  expect(text).toContain('include "./accounts.conf"');
  expect(text).not.toContain("authorization");
});

test("a control character is refused rather than written", () => {
  expect(() => renderConfig({ ...base, stateDir: "/a\u0000b" })).toThrow(/control character/);
});

test("the largest message stays within what nats-server takes without a warning", () => {
  expect(MAX_PAYLOAD_BYTES).toBeLessThanOrEqual(8 * 1024 * 1024);
  expect(renderConfig(base)).toContain(`max_payload: ${MAX_PAYLOAD_BYTES}`);
});

const tls = { certFile: "/c/server.pem", keyFile: "/c/server.key", caFile: "/c/ca.pem" };
const cluster = { name: "main", serverName: "n1", port: 6222, routes: ["127.0.0.1:6222", "127.0.0.1:6223"] };

test("without certificates nothing of TLS is written", () => {
  expect(renderConfig({ ...base, cluster })).not.toContain("tls");
});

test("certificates are for clients and for routes", () => {
  const text = renderConfig({ ...base, cluster, tls, version: "2.15.2" });
  expect(text.match(/tls \{/g)).toHaveLength(2);
  expect(
    text.match(/cert_file: "\/c\/server\.pem"\s+key_file: "\/c\/server\.key"\s+ca_file: "\/c\/ca\.pem"/g),
  ).toHaveLength(2);
  expect(text.match(/min_version: "1\.3"/g)).toHaveLength(2);
});

test("a server that does not know min_version is not given it", () => {
  expect(renderConfig({ ...base, tls, version: "2.10.29" })).not.toContain("min_version");
  expect(renderConfig({ ...base, tls })).not.toContain("min_version");
});

test("storage is the server's default unless more is asked for, and nothing is said that an old server would refuse", () => {
  expect(renderConfig(base)).not.toMatch(/sync_interval|cipher|key/);
  expect(renderConfig({ ...base, sync: "always", version: "2.10.0" })).toContain("\n  sync_interval: always\n");
  for (const version of ["2.9.25", undefined])
    expect(renderConfig({ ...base, sync: "always", version })).toMatch(
      /\n {2}# from nats-server 2\.10 on: sync_interval/,
    );
});

test("streams are encrypted by the key, and read by the one before it while there is one", () => {
  const text = renderConfig({ ...base, key: { key: "new" } });
  expect(text).toMatch(/cipher: aes\n {2}key: "new"\n\}/);
  expect(renderConfig({ ...base, key: { key: "new", former: "old" } })).toContain('prev_key: "old"');
});
