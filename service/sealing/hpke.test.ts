import { createPrivateKey, createPublicKey } from "node:crypto";
import fc from "fast-check";
import {
  AEAD_AES_128_GCM,
  AEAD_AES_256_GCM,
  CipherSuite,
  KDF_HKDF_SHA256,
  KEM_DHKEM_X25519_HKDF_SHA256,
  encode,
} from "hpke";
import { expect, test } from "vitest";
import { expectJob, newNodeKey, openJob, publicText, sealJob, type NodeKeyPair } from "./hpke.ts";
import { aes256Gcm, dhkemX25519, hkdfSha256, x25519Pair } from "./primitives.ts";

const hex = (text: string) => new Uint8Array(Buffer.from(text, "hex"));
const toHex = (data: Uint8Array) => Buffer.from(data).toString("hex");

function pairOf(privateHex: string) {
  const der = Buffer.concat([Buffer.from("302e020100300506032b656e04220420", "hex"), Buffer.from(privateHex, "hex")]);
  const object = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  return x25519Pair(object, createPublicKey(object));
}

/** RFC 9180, A.1.1: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-128-GCM, base mode. */
const RFC = {
  info: hex("4f6465206f6e2061204772656369616e2055726e"),
  skE: "52c4a758a802cd8b936eceea314432798d5baf2d7e9235dc084ab1b9cfa2f736",
  pkE: "37fda3567bdbd628e88668c3c8d7e97d1d1253b6d4ea6d44c150f741f1bf4431",
  skR: "4612c550263fc8ad58375df3f557aac531d26850903e55a9f23f21d8534e8ac8",
  pkR: "3948cfe0ad1ddb695d780e59077195da6c56506b027329794ab02bca80815c4d",
  sharedSecret: "fe0e18c9f024ce43799ae393c7e8fe8fce9d218875e8227b0187c04e7d2ea1fc",
  plaintext: hex("4265617574792069732074727574682c20747275746820626561757479"),
  aad: encode("Count-0"),
  ciphertext: "f938558b5d72f1a23810b4be2ab4f84331acc02fc97babc53a52ae8218a355a96d8770ac83d07bea87e13c512a",
  exported: "3853fe2b4035195a573ffc53856e77058e15d9ea064de3e59f4961d0095250ee",
};

test("the key exchange and the key schedule give RFC 9180's vector A.1.1, from both sides", async () => {
  const kem = dhkemX25519(() => pairOf(RFC.skE));
  const recipient = pairOf(RFC.skR);
  expect([toHex(recipient.publicKey.raw), toHex(pairOf(RFC.skE).publicKey.raw)]).toEqual([RFC.pkR, RFC.pkE]);
  const { enc, shared_secret: secret } = await kem.Encap(recipient.publicKey);
  expect([toHex(enc), toHex(secret)]).toEqual([RFC.pkE, RFC.sharedSecret]);
  expect(toHex(await kem.Decap(enc, recipient.privateKey, undefined))).toBe(RFC.sharedSecret);

  const suite = new CipherSuite(() => kem, hkdfSha256, AEAD_AES_128_GCM);
  const { ctx } = await suite.SetupSender(recipient.publicKey, { info: RFC.info });
  expect(toHex(await ctx.Seal(RFC.plaintext, RFC.aad))).toBe(RFC.ciphertext);
  expect(toHex(await ctx.Export(new Uint8Array(), 32))).toBe(RFC.exported);
});

test("our suite and the library's own by WebCrypto open each other's seals and export the same keys", async () => {
  const ours = new CipherSuite(dhkemX25519, hkdfSha256, aes256Gcm);
  const theirs = new CipherSuite(KEM_DHKEM_X25519_HKDF_SHA256, KDF_HKDF_SHA256, AEAD_AES_256_GCM);
  const [info, aad, text] = [encode("info"), encode("aad"), encode("text")];
  const own = await ours.GenerateKeyPair(false);
  const foreign = await theirs.GenerateKeyPair(false);

  const toUs = await theirs.SetupSender(await theirs.DeserializePublicKey(own.publicKey.raw), { info });
  const atUs = await ours.SetupRecipient(own, toUs.encapsulatedSecret, { info });
  expect(await atUs.Open(await toUs.ctx.Seal(text, aad), aad)).toEqual(text);
  expect(await atUs.Export(info, 100)).toEqual(await toUs.ctx.Export(info, 100));

  const raw = await theirs.SerializePublicKey(foreign.publicKey);
  const fromUs = await ours.SetupSender(await ours.DeserializePublicKey(raw), { info });
  const atThem = await theirs.SetupRecipient(foreign, fromUs.encapsulatedSecret, { info });
  expect(await atThem.Open(await fromUs.ctx.Seal(text, aad), aad)).toEqual(text);
});

test("each seal has an ephemeral key of its own", async () => {
  const keys = await newNodeKey();
  const encs: string[] = [];
  for (let i = 0; i < 20; i++) {
    encs.push(...(await Promise.all([sealedTo(keys), sealedTo(keys)])).map(({ enc }) => enc));
    if (i % 3 === 0) expectJob({ ...TO, publicKey: publicText(keys) });
    if (i % 2 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  }
  expect(new Set(encs).size).toBe(40);
});

test("what is made ahead for the next job seals one, and to this addressee only", async () => {
  const [keys, others] = [await newNodeKey(), await newNodeKey()];
  const to = { ...TO, publicKey: publicText(keys) };
  // Twice the same: one is made.
  for (let i = 0; i < 2; i++) expectJob(to);
  for (let i = 0; i < 20; i++) await new Promise(setImmediate);
  const encs: string[] = [];
  for (const [name, recipient] of [
    ["another's", { ...TO, keys: others }],
    ["the node's", { ...TO, keys }],
    ["the node's", { ...TO, keys }],
    ["another kid", { ...TO, kid: "k2", keys }],
  ] as const) {
    const { sealed, enc } = await sealJob(
      encode(name),
      { ...recipient, publicKey: publicText(recipient.keys) },
      TICKET,
      JOB,
    );
    expect((await openJob(sealed, enc, recipient, TICKET, JOB)).body).toEqual(encode(name));
    encs.push(enc);
  }
  expect(new Set(encs).size).toBe(4);
});

test("nothing is made ahead for a key that cannot be sealed to", async () => {
  expectJob({ ...TO, publicKey: "A".repeat(43) });
  await new Promise(setImmediate);
  await expect(sealJob(encode("x"), { ...TO, publicKey: "A".repeat(43) }, TICKET, JOB)).rejects.toThrow(/sealed to/);
});

const TO = { cell: "main", node: "n1", kid: "k1" };
const TICKET = "payload.signature";
const JOB = "job-00000001";

async function sealedTo(keys: NodeKeyPair, body = encode("a secret")) {
  return sealJob(body, { ...TO, publicKey: publicText(keys) }, TICKET, JOB);
}

test("what is sealed opens with the node's key, and the answer's frames both ways", async () => {
  const keys = await newNodeKey();
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 5000 }), fc.nat(), async (body, seq) => {
      const { sealed, enc, answer } = await sealedTo(keys, body);
      expect(sealed).toHaveLength(body.length + 16);
      const opened = await openJob(sealed, enc, { ...TO, keys }, TICKET, JOB);
      expect(opened.body).toEqual(body);
      expect(answer.open(seq, opened.answer.seal(seq, body))).toEqual(body);
    }),
    { numRuns: 50 },
  );
});

test("a flipped bit anywhere, or another ticket, node, cell, key name or key, opens nothing", async () => {
  const keys = await newNodeKey();
  const { sealed, enc } = await sealedTo(keys);
  const flip = (data: Uint8Array, bit: number) => {
    const copy = new Uint8Array(data);
    copy[bit >> 3] = (copy[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    return copy;
  };
  const refused = async (attempt: Promise<unknown>) =>
    expect(
      await attempt.then(
        () => "opened",
        (error: { code: string }) => error.code,
      ),
    ).toBe("bad_request");
  for (let bit = 0; bit < sealed.length * 8; bit++)
    await refused(openJob(flip(sealed, bit), enc, { ...TO, keys }, TICKET, JOB));
  const encBytes = hex(Buffer.from(enc, "base64url").toString("hex"));
  // X25519 ignores the last bit of the coordinate (RFC 7748, 5); the key schedule does not.
  for (let bit = 0; bit < 256; bit++) {
    const flipped = Buffer.from(flip(encBytes, bit)).toString("base64url");
    await refused(openJob(sealed, flipped, { ...TO, keys }, TICKET, JOB));
  }
  await refused(openJob(sealed, enc, { ...TO, keys }, `${TICKET}x`, JOB));
  for (const other of [{ node: "n2" }, { cell: "other" }, { kid: "k2" }, { keys: await newNodeKey() }])
    await refused(openJob(sealed, enc, { ...TO, keys, ...other }, TICKET, JOB));
  for (const length of [0, 1, 15, 16, sealed.length - 1])
    await refused(openJob(sealed.subarray(0, length), enc, { ...TO, keys }, TICKET, JOB));
  for (const text of ["", enc.slice(1), `${enc}A`, `${enc}=`, `${enc.slice(0, -1)}*`, "A".repeat(10_000)])
    await refused(openJob(sealed, text, { ...TO, keys }, TICKET, JOB));
});

/** Points of order 1, 2, 4 and 8 and their other spellings: a shared secret of zeros, which anyone can compute (RFC 7748, 6.1). */
const LOW_ORDER = [
  "0000000000000000000000000000000000000000000000000000000000000000",
  "0100000000000000000000000000000000000000000000000000000000000000",
  "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
  "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
  "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
].map((text) => Buffer.from(text, "hex").toString("base64url"));

test.each(LOW_ORDER)("nothing is sealed to the low-order key %s and nothing opened that came with it", async (low) => {
  await expect(sealJob(encode("x"), { ...TO, publicKey: low }, TICKET, JOB)).rejects.toMatchObject({
    code: "ticket_rejected",
  });
  const keys = await newNodeKey();
  await expect(openJob(new Uint8Array(100), low, { ...TO, keys }, TICKET, JOB)).rejects.toMatchObject({
    code: "bad_request",
    cause: { name: "DecapError" },
  });
});

test("what is no key is not sealed to, and says nothing of the job", async () => {
  for (const publicKey of ["", "AAAA", "*".repeat(43), "A".repeat(44)]) {
    const attempt = sealJob(encode("a secret"), { ...TO, publicKey }, TICKET, JOB);
    await expect(attempt).rejects.toMatchObject({ code: "ticket_rejected", field: "public_key" });
    await expect(attempt).rejects.not.toThrow(/secret/);
  }
});

test("a frame opens only under its own number, job and key", async () => {
  const keys = await newNodeKey();
  const [one, two] = [await sealedTo(keys), await sealedTo(keys)];
  const frame = one.answer.seal(3, encode("text"));
  expect(new TextDecoder().decode(one.answer.open(3, frame))).toBe("text");
  for (const open of [
    () => one.answer.open(4, frame),
    () => two.answer.open(3, frame),
    () => one.answer.open(3, frame.subarray(1)),
    () => one.answer.open(3, new Uint8Array(5)),
    () => one.answer.open(Number.NaN, frame),
    () => one.answer.open(-1, frame),
  ])
    expect(open).toThrow();
});
