import { createPrivateKey, createPublicKey, generateKeyPairSync, webcrypto, X509Certificate } from "node:crypto";
import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync, chmodSync } from "node:fs";
import path from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { tempDir } from "../../test/kit/temp-dir.ts";
import { certifiedHost } from "./hosts.ts";
import { checkGiven, describeCertificate, ensureCertificates, issueServer, makeAuthority } from "./index.ts";

const DAY_MS = 86_400_000;
const HOSTS = ["bus.example", "127.0.0.1", "::1"];
const posix = process.platform !== "win32";

function folder(): string {
  const dir = tempDir("tiermesh-certificates-");
  onTestFinished(() => dir.remove());
  return dir.path;
}

/** A complete set of given files, each of which a test may replace. */
async function given(change: Partial<{ cert: string; key: string; ca: string; mode: number }> = {}) {
  const at = folder();
  const authority = await makeAuthority({ name: "Company CA" });
  const server = await issueServer({ authority, hosts: HOSTS });
  const files = { certFile: path.join(at, "c.pem"), keyFile: path.join(at, "k.pem"), caFile: path.join(at, "a.pem") };
  writeFileSync(files.certFile, change.cert ?? server.certPem);
  writeFileSync(files.keyFile, change.key ?? server.keyPem);
  chmodSync(files.keyFile, change.mode ?? 0o600);
  writeFileSync(files.caFile, change.ca ?? authority.certPem);
  return { ...files, hosts: HOSTS, authority, server };
}

const refusal = (promise: Promise<unknown>) =>
  promise.then(
    () => "accepted",
    (error: unknown) => error,
  );

test("an authority certifies servers and nothing else, and its serial numbers do not repeat", async () => {
  const [one, two] = [await makeAuthority({ name: "One" }), await makeAuthority({ name: "One" })];
  const certificate = new X509Certificate(one.certPem);
  expect(certificate.ca).toBe(true);
  expect(certificate.verify(certificate.publicKey)).toBe(true);
  expect(certificate.subject).toBe("CN=One");
  expect(certificate.publicKey.asymmetricKeyDetails?.namedCurve).toBe("prime256v1");
  // pathLenConstraint 0, critical: 30 06 01 01 ff 02 01 00 after the flag.
  expect(certificate.raw.toString("hex")).toContain("0603551d130101ff040830060101ff020100");
  expect(certificate.serialNumber).toHaveLength(34);
  expect(new X509Certificate(two.certPem).serialNumber).not.toBe(certificate.serialNumber);
});

test("a server's certificate is for its hosts, for both ends of a connection, and begins in the past", async () => {
  const nowMs = Date.now();
  const authority = await makeAuthority({ name: "Test", nowMs });
  const { certPem, keyPem } = await issueServer({ authority, hosts: ["Bus.Example", "[::1]", "10.0.0.7"], nowMs });
  const certificate = new X509Certificate(certPem);
  expect(certificate.verify(new X509Certificate(authority.certPem).publicKey)).toBe(true);
  expect(certificate.ca).toBe(false);
  expect(describeCertificate(certPem)).toMatchObject({
    hosts: ["bus.example", "::1", "10.0.0.7"],
    issuer: "CN=Test",
    fingerprint: expect.stringMatching(/^([0-9A-F]{2}:){31}[0-9A-F]{2}$/),
  });
  expect(certificate.keyUsage).toEqual(["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"]);
  const { notBeforeMs, notAfterMs } = describeCertificate(certPem);
  expect(nowMs - notBeforeMs).toBeGreaterThan(5 * 60_000);
  expect(Math.round((notAfterMs - nowMs) / DAY_MS)).toBe(825);
  expect(createPublicKey(keyPem).export({ format: "pem", type: "spki" })).toBe(
    certificate.publicKey.export({ format: "pem", type: "spki" }),
  );
});

test("a server's certificate does not outlive its authority", async () => {
  const authority = await makeAuthority({ name: "Short", days: 40 });
  const { certPem } = await issueServer({ authority, hosts: HOSTS });
  expect(describeCertificate(certPem).notAfterMs).toBe(describeCertificate(authority.certPem).notAfterMs);
});

test.each(["", "a b", "nats://x", "10.0.0", "-a", "x".repeat(64), "a..b", "::g"])("%j is no host", (host) => {
  expect(() => certifiedHost(host)).toThrow(/neither a host name nor an IP address/);
});

test("hosts have one spelling", () => {
  expect(certifiedHost("0:0:0:0:0:0:0:1")).toEqual({ type: "ip", value: "::1" });
  expect(certifiedHost("Bücher.Example")).toEqual({ type: "dns", value: "xn--bcher-kva.example" });
  expect(certifiedHost("*.bus.example")).toEqual({ type: "dns", value: "*.bus.example" });
});

test("the first call makes everything, the second changes nothing", async () => {
  const at = folder();
  const nowMs = Date.now();
  const first = await ensureCertificates(at, HOSTS, nowMs);
  expect(first).toMatchObject({ made: "authority", warnings: [] });
  expect(await checkGiven({ ...first, hosts: HOSTS })).toEqual([]);
  const modes = ["ca.key", "server.key"].map((name) => statSync(path.join(at, name)).mode & 0o777);
  expect(modes.every((mode) => !posix || mode === 0o600)).toBe(true);
  expect(readdirSync(at).toSorted()).toEqual(["ca.key", "ca.pem", "server.key", "server.pem"]);
  // The authority comes with the server's certificate, so that a client may be shown where it comes from.
  expect(readFileSync(first.certFile, "utf8")).toContain(readFileSync(first.caFile, "utf8"));
  const before = contents(at);
  expect(await ensureCertificates(at, HOSTS.toReversed(), nowMs)).toMatchObject({ made: "nothing" });
  expect(contents(at)).toEqual(before);
});

test("two processes that begin at once end with one authority", async () => {
  const at = folder();
  const both = await Promise.all([1, 2].map(() => ensureCertificates(at, HOSTS, Date.now())));
  expect(both.map(({ made }) => made).toSorted()).toEqual(["authority", "nothing"]);
});

test("the certificate is renewed under the same authority when hosts change or its end is near", async () => {
  const at = folder();
  const nowMs = Date.now();
  await ensureCertificates(at, HOSTS, nowMs);
  const before = contents(at);
  for (const [hosts, when] of [
    [[...HOSTS, "other.example"], nowMs],
    [["bus.example"], nowMs],
    [["bus.example"], nowMs + 800 * DAY_MS],
  ] as const) {
    expect(await ensureCertificates(at, hosts, when)).toMatchObject({ made: "server" });
    expect(describeCertificate(readFileSync(path.join(at, "server.pem"), "utf8")).hosts).toEqual(hosts);
    expect(await ensureCertificates(at, hosts, when)).toMatchObject({ made: "nothing" });
  }
  expect(contents(at)).toMatchObject({ "ca.pem": before["ca.pem"], "ca.key": before["ca.key"] });
});

test("a certificate without key or a key without certificate is completed", async () => {
  const at = folder();
  await ensureCertificates(at, HOSTS, Date.now());
  for (const gone of ["server.key", "server.pem"]) {
    rmSync(path.join(at, gone));
    const made = await ensureCertificates(at, HOSTS, Date.now());
    expect(made.made).toBe("server");
    expect(await checkGiven({ ...made, hosts: HOSTS })).toEqual([]);
  }
});

test("the authority's key may be kept elsewhere until something has to be issued", async () => {
  const at = folder();
  await ensureCertificates(at, HOSTS, Date.now());
  rmSync(path.join(at, "ca.key"));
  expect(await ensureCertificates(at, HOSTS, Date.now())).toMatchObject({ made: "nothing" });
  await expect(ensureCertificates(at, ["x.example"], Date.now())).rejects.toThrow(/ca\.key is not there to issue it/);
});

const otherKey = generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey.export({
  format: "pem",
  type: "pkcs8",
}) as string;

test.each([
  ["ca.pem", undefined, /ca\.pem is missing beside/],
  ["ca.pem", "", /ca\.pem holds no readable certificate.*put the authority's own file back/],
  ["ca.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", /ca\.pem holds no readable certificate/],
  ["ca.key", "half", /ca\.key holds no readable private key/],
  ["ca.key", otherKey, /ca\.key is not an ECDSA P-256 key/],
  ["server.pem", "half", /server\.pem holds no readable certificate.*remove it to have it made anew/],
  ["server.key", "half", /server\.key holds no readable private key.*remove it to have it made anew/],
  ["server.key", otherKey, /server\.key is not an ECDSA P-256 key/],
])("%s with a wrong content is named, and nothing is overwritten", async (name, content, message) => {
  const at = folder();
  await ensureCertificates(at, HOSTS, Date.now());
  const file = path.join(at, name);
  if (content === undefined) rmSync(file);
  else writeFileSync(file, content);
  const before = contents(at);
  const error = await refusal(ensureCertificates(at, [...HOSTS, "new.example"], Date.now()));
  expect(error).toMatchObject({ code: "bad_config", message: expect.stringMatching(message) });
  expect(contents(at)).toEqual(before);
});

test("files of another authority are named, and nothing is overwritten", async () => {
  const [ours, theirs] = [folder(), folder()];
  await ensureCertificates(ours, HOSTS, Date.now());
  await ensureCertificates(theirs, HOSTS, Date.now());
  const copy = (name: string) => writeFileSync(path.join(ours, name), readFileSync(path.join(theirs, name)));
  copy("ca.key");
  await expect(ensureCertificates(ours, HOSTS, Date.now())).rejects.toThrow(/ca\.key is not the key of/);
  copy("ca.pem");
  const before = contents(ours);
  await expect(ensureCertificates(ours, HOSTS, Date.now())).rejects.toThrow(/server\.pem was not issued by/);
  for (const name of ["ca.pem", "ca.key"]) rmSync(path.join(ours, name));
  await expect(ensureCertificates(ours, HOSTS, Date.now())).rejects.toThrow(/without .*ca\.pem; put that back/);
  expect(contents(ours)).toEqual({ "server.pem": before["server.pem"], "server.key": before["server.key"] });
});

test("an authority near its end is not replaced but named", async () => {
  const at = folder();
  await ensureCertificates(at, HOSTS, Date.now());
  await expect(ensureCertificates(at, HOSTS, Date.now() + 3640 * DAY_MS)).rejects.toThrow(/the authority ends on .*/);
  await expect(ensureCertificates(at, HOSTS, Date.now() + 4000 * DAY_MS)).rejects.toThrow(/has expired on/);
});

test("a folder that cannot be made is named", async () => {
  const at = folder();
  writeFileSync(path.join(at, "file"), "");
  await expect(ensureCertificates(path.join(at, "file"), HOSTS, 0)).rejects.toMatchObject({ code: "bad_config" });
});

test("good given files pass without a warning", async () => {
  expect(await checkGiven(await given())).toEqual([]);
});

test("a chain through an authority in between is followed, and its absence is named", async () => {
  await import("reflect-metadata");
  const x509 = await import("@peculiar/x509");
  const root = await makeAuthority({ name: "Root", days: 100 });
  const below = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const keyOf = (pem: string) =>
    webcrypto.subtle.importKey(
      "pkcs8",
      createPrivateKey(pem).export({ format: "der", type: "pkcs8" }),
      { name: "ECDSA", namedCurve: "P-256" },
      true,
      ["sign"],
    );
  const between = await x509.X509CertificateGenerator.create({
    subject: "CN=Between",
    issuer: "CN=Root",
    signingAlgorithm: { name: "ECDSA", hash: "SHA-256" },
    publicKey: below.publicKey.export({ format: "der", type: "spki" }),
    signingKey: await keyOf(root.keyPem),
    extensions: [new x509.BasicConstraintsExtension(true, 0, true)],
  });
  const keyPem = below.privateKey.export({ format: "pem", type: "pkcs8" }) as string;
  const leaf = await issueServer({ authority: { certPem: between.toString("pem"), keyPem }, hosts: HOSTS });
  const files = { key: leaf.keyPem, ca: root.certPem };
  const whole = await given({ ...files, cert: `${leaf.certPem}${between.toString("pem")}\n` });
  expect(await checkGiven(whole)).toEqual([]);
  await expect(checkGiven(await given({ ...files, cert: leaf.certPem }))).rejects.toThrow(/“CN=Between” is not there/);
  const expired = checkGiven({ ...whole, nowMs: Date.now() + 200 * DAY_MS });
  await expect(expired).rejects.toThrow(/“CN=Root” has expired on/);
});

test("what works today and should be looked at is a warning", async () => {
  const files = await given({ mode: 0o644 });
  const warnings = await checkGiven({ ...files, nowMs: Date.now() + 810 * DAY_MS });
  expect(warnings[0]).toMatch(/c\.pem ends on \d{4}-\d\d-\d\d; have it renewed/);
  expect(warnings[1] ?? "").toMatch(posix ? /k\.pem can be read by others/ : /^$/);
});

test("each fault of given files is refused by file and setting", async () => {
  const strange = await makeAuthority({ name: "Company CA" });
  const encrypted = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey.export({
    format: "pem",
    type: "pkcs8",
    cipher: "aes-256-cbc",
    passphrase: "secret words",
  }) as string;
  const good = await given();
  const check = (change: Parameters<typeof given>[0], more: object = {}) =>
    given(change).then((files) => refusal(checkGiven({ ...files, ...more })));
  const faults: [Promise<unknown>, string, RegExp][] = [
    [check({ cert: "" }), "certFile", /c\.pem holds no readable certificate/],
    [check({ key: "x" }), "keyFile", /k\.pem holds no readable private key/],
    [check({ key: encrypted }), "keyFile", /k\.pem holds an encrypted key/],
    [check({ key: good.server.keyPem }), "keyFile", /k\.pem is not the key of .*c\.pem/],
    [check({ ca: strange.certPem }), "caFile", /does not lead to an authority in .*“CN=Company CA” is not there/],
    [check({}, { hosts: ["bus.example", "10.1.1.1"] }), "certFile", /and not for 10\.1\.1\.1; have it issued/],
    [check({}, { nowMs: Date.now() + 900 * DAY_MS }), "certFile", /the certificate has expired on/],
    [check({}, { nowMs: Date.now() - DAY_MS }), "certFile", /is not valid before/],
    [check({}, { hosts: [] }), "hosts", /at least one host/],
    [check({}, { caFile: "/no/such/file" }), "caFile", /\/no\/such\/file is not there/],
    [check({}, { caFile: "/" }), "caFile", /\/ cannot be read \(EISDIR\)/],
  ];
  for (const [answer, field, message] of faults) {
    const error = await answer;
    expect(error).toMatchObject({ code: "bad_config", field, message: expect.stringMatching(message) });
    expect((error as Error).message).not.toContain("PRIVATE");
  }
});

function contents(at: string): Record<string, string> {
  const names = readdirSync(at).filter((name) => existsSync(path.join(at, name)));
  return Object.fromEntries(names.map((name) => [name, readFileSync(path.join(at, name), "utf8")]));
}
