import { mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import { parseArgs } from "node:util";
import { PRODUCT } from "../agent/install/release-check.ts";
import { fileDigest, newSigningKeys, writeSignature } from "../service/release-signature.ts";
import { VERSION } from "../service/version.ts";
import { ROOT, bundleAgent } from "./agent-bundle.ts";
import { TARGETS, THIS_TARGET, systemOf, type Target } from "./agent-targets.ts";
import { buildDebianPackage } from "./debian-package.ts";
import { buildSingleExecutable, sourceTimeMs } from "./single-executable.ts";

/**
 * `npm run build:agent -- [--platform linux-x64]… [--bundle] [--deb] [--sign KEY] [--out DIR] [--release VERSION] [--node FILE] [--winsw FILE]`:
 * the agent as one program for each named system, by default this one, signed if a key is named, with `--deb` as a Debian package as well; with `--bundle` as plain JavaScript in
 * out/agent instead. `--new-key FILE` makes a key. Nothing needs any of it: the same agent runs from source.
 */

const { values } = parseArgs({
  options: {
    platform: { type: "string", multiple: true },
    bundle: { type: "boolean" },
    sign: { type: "string" },
    deb: { type: "boolean" },
    "new-key": { type: "string" },
    out: { type: "string" },
    release: { type: "string" },
    node: { type: "string" },
    winsw: { type: "string" },
  },
});

const out = path.resolve(values.out ?? path.join(ROOT, "out"));
const newKey = values["new-key"];
if (newKey !== undefined) {
  const { privateKeyPem, publicKeyPem } = newSigningKeys();
  writeFileSync(newKey, privateKeyPem, { mode: 0o600, flag: "wx" });
  writeFileSync(`${newKey}.pub`, publicKeyPem, { flag: "wx" });
  say(`${newKey} (keep it away from here), ${newKey}.pub (for tiermesh-agent install --release-key)`);
} else if (values.bundle === true) {
  const folder = values.out === undefined ? path.join(out, "agent") : out;
  const sizes = await bundleAgent(folder);
  say(
    `${folder}: ${Object.entries(sizes)
      .map(([name, count]) => `${name}.js ${Math.round(count / 1000)} kB`)
      .join(", ")}`,
  );
} else {
  mkdirSync(out, { recursive: true });
  const version = values.release ?? VERSION;
  for (const target of values.platform ?? [THIS_TARGET]) {
    if (!isTarget(target)) throw new Error(`--platform: one of ${TARGETS.join(", ")}`);
    const file = await buildSingleExecutable({ target, version, out, node: values.node, winsw: values.winsw });
    say(`${file}: ${version}, ${Math.round(statSync(file).size / 1e6)} MB`);
    const { platform, arch } = systemOf(target);
    if (values.deb === true && platform === "linux")
      say(buildDebianPackage({ program: file, version, arch, out, timeSeconds: Math.trunc(sourceTimeMs() / 1000) }));
    if (values.sign !== undefined) say(await sign(file, target, version, values.sign));
  }
}

async function sign(file: string, target: Target, version: string, keyFile: string): Promise<string> {
  const { platform, arch } = systemOf(target);
  const statement = {
    v: 1 as const,
    product: PRODUCT,
    version,
    platform,
    arch,
    bytes: statSync(file).size,
    sha256: await fileDigest(file),
  };
  writeFileSync(`${file}.sig`, writeSignature(statement, readFileSync(keyFile, "utf8")));
  return `${file}.sig: SHA-256 ${statement.sha256}`;
}

function isTarget(text: string): text is Target {
  return (TARGETS as readonly string[]).includes(text);
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
