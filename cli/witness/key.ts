import { chmodSync, existsSync, mkdirSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { generatePrivateKey, parsePrivateKey } from "../../auditor/tlog/keys.ts";
import { MeshError } from "../../bus-schemas/index.ts";
import { note, print, printJson } from "../format/terminal.ts";

export interface WitnessKeyFlags {
  name?: string;
  /** ML-DSA-44 instead of Ed25519. */
  mldsa?: boolean;
  json?: boolean;
}

/** Where a witness keeps what it has cosigned, beside its key: they belong together. */
export function recordFolder(keyFile: string): string {
  return `${keyFile}.record`;
}

/**
 * Makes a witness's key, its public half `<file>.pub`, and the empty record of what it cosigns.
 * @throws MeshError `conflict` when one is there, `bad_request` for a name that cannot be one or a place that cannot be written.
 */
export function makeWitnessKey(file: string, { json, mldsa, name }: WitnessKeyFlags): void {
  const folder = recordFolder(file);
  if (existsSync(file) || existsSync(folder))
    throw new MeshError("conflict", `${file}: there is a witness's key already`);
  if (name !== undefined && !/^[^\s+]{1,200}$/u.test(name))
    throw new MeshError("bad_request", "--name: up to 200 characters without spaces and +", { field: "name" });
  const key = generatePrivateKey(
    (unique) => name ?? `${hostname().replaceAll(/[\s+]/g, "-")}/${unique}`,
    "cosignature",
    mldsa === true ? "ml-dsa-44" : "ed25519",
  );
  const { name: made, verifierKey } = parsePrivateKey(key);
  try {
    mkdirSync(folder, { mode: 0o700 });
    writeFileSync(file, `${key}\n`, { mode: 0o600, flag: "wx", flush: true });
    chmodSync(file, 0o600);
    writeFileSync(`${file}.pub`, `${verifierKey}\n`, { flush: true });
  } catch (cause) {
    throw new MeshError("bad_request", `${file}: cannot be written`, { cause });
  }
  if (json === true) return printJson({ file, name: made, verifier_key: verifierKey });
  print(verifierKey);
  note(
    `${file} is private; ${file}.pub goes to whoever runs the log and to whoever checks it. Keep ${folder} with it:`,
  );
  note("a witness that has lost its record could cosign another history, so it does not start without");
}
