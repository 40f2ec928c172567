import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { onTestFinished } from "vitest";
import { installAgent } from "../../agent/install/install.ts";
import { readRecord } from "../../agent/install/record.ts";
import { upgradeAgent } from "../../agent/install/upgrade.ts";
import { fileDigest, newSigningKeys, writeSignature } from "../../service/release-signature.ts";
import { FakeMachine, FakeManager, SMALL_PROGRAM, layoutBelow } from "./fake-machine.ts";
import { tempDir } from "./temp-dir.ts";

export const KEYS = newSigningKeys();
const quiet = () => undefined;

/** A program of this version: a real one of the system, with the version behind its end. */
export function program(file: string, version: string): string {
  copyFileSync(SMALL_PROGRAM, file);
  writeFileSync(file, Buffer.concat([readFileSync(SMALL_PROGRAM), Buffer.from(`#${version}`)]));
  return file;
}

export const versionIn = (file: string) => readFileSync(file, "latin1").split("#").at(-1) ?? "";

/** A machine on which 1.0.0 is installed and runs. */
export async function machineWith({ releaseKey = true } = {}) {
  const made = tempDir("tiermesh-upgrade-");
  const layout = layoutBelow(path.join(made.path, "m"));
  const manager = new FakeManager(layout, () => versionIn(layout.executable));
  onTestFinished(async () => {
    await manager.stop();
    await made.remove();
  });
  let unit = manager.definitions();
  const machine = new FakeMachine("", (file, args) => {
    if (args[0] === "--version") return `${versionIn(file)}\n`;
    if (args[0] === "print-unit") return JSON.stringify(unit);
    return file === "id" ? String(args[0] === "-u" ? process.getuid?.() : process.getgid?.()) : undefined;
  });
  const place = { machine, layout, manager };
  const first = program(path.join(made.path, "first"), "1.0.0");
  const key = releaseKey ? KEYS.publicKeyPem : undefined;
  await installAgent(place, { executable: first, version: "1.0.0", releaseKey: key, start: false }, quiet);
  await manager.start();
  const file = path.join(made.path, "next");
  const signed = async (version: string, more: object = {}) => {
    program(file, version);
    const statement = {
      v: 1 as const,
      product: "tiermesh-agent",
      version,
      platform: process.platform,
      arch: process.arch,
      bytes: readFileSync(file).length,
      sha256: await fileDigest(file),
      ...more,
    };
    return { from: file, signature: writeSignature(statement, KEYS.privateKeyPem), sha256: undefined };
  };
  const upgrade = (what: { from: string; signature?: string | undefined; sha256?: string | undefined }, more = {}) =>
    upgradeAgent(
      place,
      { signature: undefined, sha256: undefined, downgrade: false, limitMs: 600, ...what, ...more },
      quiet,
    );
  const now = () => ({ program: versionIn(layout.executable), record: readRecord(machine, layout)?.version });
  return { ...place, file, signed, upgrade, now, setUnit: (definitions: typeof unit) => void (unit = definitions) };
}
