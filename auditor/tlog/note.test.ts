import fc from "fast-check";
import { expect, test } from "vitest";
import { openCheckpoint, signCheckpoint } from "./checkpoint.ts";
import { EMPTY_ROOT, leafHash } from "./hash.ts";
import { generatePrivateKey, parsePrivateKey, parseVerifierKey } from "./keys.ts";
import { openNote, signNote } from "./note.ts";

// The example of golang.org/x/mod/sumdb/note (package documentation).
const GO_PRIVATE = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
const GO_VERIFIER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const GO_TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
const GO_NOTE = `${GO_TEXT}\n— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n`;

const open = (note: string | Uint8Array, key = GO_VERIFIER) =>
  openNote(typeof note === "string" ? Buffer.from(note) : note, [parseVerifierKey(key)]);
const newSigner = (name = "example.org/log") => parsePrivateKey(generatePrivateKey(() => name));

test("Go's example is signed byte for byte the same, and opens", () => {
  const signer = parsePrivateKey(GO_PRIVATE);
  expect(signer.verifierKey).toBe(GO_VERIFIER);
  expect(signNote(GO_TEXT, [signer])).toBe(GO_NOTE);
  expect(open(GO_NOTE)).toEqual({ text: GO_TEXT, signedBy: ["PeterNeumann"] });
});

test("a note with any one byte changed does not open", () => {
  const note = Buffer.from(GO_NOTE);
  for (let at = 0; at < note.length; at++)
    for (const bit of [1, 4, 32, 128]) {
      const changed = Buffer.from(note);
      changed[at] = changed[at]! ^ bit;
      expect(() => open(changed)).toThrow();
    }
});

test("a note cut anywhere does not open", () => {
  const note = Buffer.from(GO_NOTE);
  for (let size = 0; size < note.length; size++) expect(() => open(note.subarray(0, size))).toThrow();
});

test("signatures of unknown keys and of types still to come are passed over, and a known one that is wrong is not", () => {
  const other = newSigner("witness.example/w1");
  const both = signNote(GO_TEXT, [other, parsePrivateKey(GO_PRIVATE)]);
  expect(open(both).signedBy).toEqual(["PeterNeumann"]);
  // An ML-DSA-44 signature has 2,420 bytes; behind them a cosignature's time.
  const large = Buffer.alloc(4 + 8 + 2420, 7).toString("base64");
  expect(open(`${GO_NOTE}— log.example/mldsa ${large}\n`).signedBy).toEqual(["PeterNeumann"]);
  expect(() => open(signNote(GO_TEXT, [other]))).toThrow("not signed by PeterNeumann");
  const wrong = GO_NOTE.replace("x08go/ZJ", "x08go/ZK");
  expect(() => open(`${wrong}${GO_NOTE.slice(GO_TEXT.length + 1)}`)).toThrow("the signature of PeterNeumann is wrong");
});

test("keys whose hash, type or length is wrong are refused, and an error never holds the private key", () => {
  for (const bad of ["", "x", "a+b", GO_VERIFIER.replace("c7", "c8"), GO_VERIFIER.replace("Peter", "Petra")])
    expect(() => parseVerifierKey(bad)).toThrow();
  expect(() => parseVerifierKey("n+00000000+B0FB")).toThrow("signature type 7");
  for (const bad of [GO_PRIVATE.slice(0, -4), GO_PRIVATE.replace("c7", "c8"), GO_VERIFIER, `${GO_PRIVATE}AAAA`])
    expect(() => parsePrivateKey(bad)).toThrow(/^(?!.*AYEKFAL)/);
});

test("checkpoints open as they were signed, by their own key only", () => {
  const signer = newSigner();
  const key = parseVerifierKey(signer.verifierKey);
  fc.assert(
    fc.property(fc.maxSafeNat(), (size) => {
      const root = leafHash(Buffer.from(String(size)));
      const note = Buffer.from(signCheckpoint({ size, root }, signer));
      expect(openCheckpoint(note, key)).toEqual({ origin: "example.org/log", size, root });
      expect(() => openCheckpoint(note, parseVerifierKey(newSigner().verifierKey))).toThrow("not signed by");
    }),
    { numRuns: 20 },
  );
});

test("a signed note that is no checkpoint, or one of another log, is refused", () => {
  const signer = newSigner();
  const key = parseVerifierKey(signer.verifierKey);
  const root = EMPTY_ROOT.toString("base64");
  const opened = (text: string) => () => openCheckpoint(Buffer.from(signNote(text, [signer])), key);
  expect(opened(`example.org/log\n0\n${root}\nextension\n`)()).toMatchObject({ size: 0 });
  for (const size of ["00", "01", "-1", "1e3", "", "9007199254740993", "99999999999999999999"])
    expect(opened(`example.org/log\n${size}\n${root}\n`)).toThrow("not a checkpoint");
  for (const hash of ["", root.slice(4), root.replace("=", ""), `${root}=`])
    expect(opened(`example.org/log\n0\n${hash}\n`)).toThrow("not a checkpoint");
  expect(opened("example.org/log\n0\n")).toThrow("not a checkpoint");
  expect(opened(`example.org/other\n0\n${root}\n`)).toThrow("another log");
});
