import { createPublicKey, verify } from "node:crypto";
import { expect, test } from "vitest";
import { tempDir } from "../../test/kit/temp-dir.ts";
import { formatAddCheckpoint } from "../witness/request.ts";
import { Witness } from "../witness/witness.ts";
import { cosignersOf, openCheckpoint, signCheckpoint } from "./checkpoint.ts";
import { leafHash } from "./hash.ts";
import { generatePrivateKey, parsePrivateKey, parseVerifierKey } from "./keys.ts";
import { signNote } from "./note.ts";

const log = parsePrivateKey(generatePrivateKey(() => "example.org/log"));
const second = parsePrivateKey(
  generatePrivateKey(() => "example.org/log", "cosignature", "ml-dsa-44"),
  () => 1_790_000_000.7,
);
const secondKey = parseVerifierKey(second.verifierKey);
const head = { size: 70_000, root: leafHash(Buffer.from("root")) };
const note = () => signCheckpoint(head, log, [second]);

test("the second signature is over the structure of tlog-cosignature, made here by hand", () => {
  const [line = ""] = note().split("\n").slice(5);
  const bytes = Buffer.from(line.split(" ")[2] ?? "", "base64");
  expect(bytes.length).toBe(4 + 8 + 2420);
  expect(bytes.readUInt32BE(0)).toBe(secondKey.keyId);
  const u64 = (value: number) => Buffer.from(value.toString(16).padStart(16, "0"), "hex");
  const name = Buffer.from("\u000fexample.org/log");
  const label = Buffer.from("737562747265652f76310a00", "hex");
  const message = Buffer.concat([label, name, u64(1_790_000_000), name, u64(0), u64(70_000), head.root]);
  const raw = Buffer.from(second.verifierKey.split("+").slice(2).join("+"), "base64").subarray(1);
  expect(raw.length).toBe(1312);
  const key = createPublicKey({
    key: { kty: "AKP", alg: "ML-DSA-44", pub: raw.toString("base64url") },
    format: "jwk",
  });
  expect(verify(null, message, key, bytes.subarray(12))).toBe(true);
});

test("who knows the first key alone passes the second signature over, and who knows it finds it good, absent or wrong", () => {
  const opened = openCheckpoint(Buffer.from(note()), parseVerifierKey(log.verifierKey));
  expect(opened).toMatchObject({ origin: "example.org/log", size: 70_000 });
  const of = (text: string) => cosignersOf(Buffer.from(text), [secondKey])[0];
  expect(of(note())).toEqual({ witness: "example.org/log", state: "cosigned", timeS: 1_790_000_000 });
  expect(of(signCheckpoint(head, log))).toMatchObject({ state: "absent" });
  const other = signCheckpoint({ ...head, size: 70_001 }, log);
  const line = note().split("\n")[5] ?? "";
  expect(of(`${other}${line}\n`)).toMatchObject({ state: "wrong", timeS: null });
  const [, name = "", base64 = ""] = line.split(" ");
  const short = Buffer.from(base64, "base64").subarray(0, -1).toString("base64");
  expect(of(`${other}— ${name} ${short}\n`)).toMatchObject({ state: "wrong" });
  const again = parsePrivateKey(generatePrivateKey(() => "w", "cosignature", "ml-dsa-44"));
  expect(() => signNote("no checkpoint\n", [again])).toThrow("only a checkpoint");
});

test("a witness may have a key of ML-DSA-44, and cosigns a log that signs twice", async () => {
  await using dir = tempDir();
  const signer = parsePrivateKey(generatePrivateKey(() => "w.example/1", "cosignature", "ml-dsa-44"));
  const witness = await Witness.open({ signer, logs: [parseVerifierKey(log.verifierKey)], folder: dir.path });
  const checkpoint = signCheckpoint({ size: 1, root: head.root }, log, [second]);
  const { body, status } = await witness.addCheckpoint(formatAddCheckpoint({ oldSize: 0, proof: [], checkpoint }));
  expect(status).toBe(200);
  const keys = [signer.verifierKey, second.verifierKey].map(parseVerifierKey);
  expect(cosignersOf(Buffer.from(`${checkpoint}${body}`), keys)).toMatchObject([
    { state: "cosigned" },
    { state: "cosigned" },
  ]);
});
