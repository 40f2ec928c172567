import { expect, test } from "vitest";
import { Xaes } from "./xaes.ts";

// The vectors of c2sp.org/XAES-256-GCM: one key for each way that the doubling can go.
const NONCE = Buffer.from("ABCDEFGHIJKLMNOPQRSTUVWX");

test.each([
  [0x01, "", "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"],
  [0x03, "c2sp.org/XAES-256-GCM", "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d"],
])("the published vector of a key of %i comes out", (byte, about, expected) => {
  const sealed = new Xaes(Buffer.alloc(32, byte)).seal(Buffer.from("XAES-256-GCM"), Buffer.from(about), NONCE);
  expect(sealed.subarray(NONCE.length).toString("hex")).toBe(expected);
});

test("what was sealed is opened, and nothing that was changed, cut, of another key or about something else", () => {
  const [one, two] = [new Xaes(Buffer.alloc(32, 7)), new Xaes(Buffer.alloc(32, 8))];
  const about = Buffer.from("here");
  const sealed = one.seal(Buffer.from("secret"), about);
  expect(one.open(sealed, about)?.toString()).toBe("secret");
  expect(one.seal(Buffer.from("secret"), about).equals(sealed)).toBe(false);
  expect(two.open(sealed, about)).toBeUndefined();
  expect(one.open(sealed, Buffer.from("there"))).toBeUndefined();
  for (let at = 0; at < sealed.length; at++) {
    expect(one.open(sealed.with(at, (sealed[at] ?? 0) ^ 1), about)).toBeUndefined();
    expect(one.open(sealed.subarray(0, at), about)).toBeUndefined();
  }
});
