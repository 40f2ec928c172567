import { readFile, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import path from "node:path";
import { afterEach, expect, test } from "vitest";
import type { EventData } from "../../bus-schemas/index.ts";
import { createLog } from "../../service/log.ts";
import type { Loop } from "../../service/loop.ts";
import { Metrics } from "../../service/metrics.ts";
import { tempDir, type TempDir } from "../../test/kit/temp-dir.ts";
import { waitFor } from "../../test/kit/wait-for.ts";
import { cosignersOf } from "../tlog/checkpoint.ts";
import { generatePrivateKey, parsePrivateKey, parseVerifierKey } from "../tlog/keys.ts";
import { TileReader } from "../tlog/reader.ts";
import { consistencyProof } from "../tlog/tree.ts";
import { verifyLog } from "../tlog/verify.ts";
import { TlogWriter } from "../tlog/writer.ts";
import { Cosigner } from "./cosigner.ts";
import { serveWitness, type WitnessServer } from "./server.ts";
import { readWitnessList, type WitnessAddress } from "./witness-list.ts";
import { Witness } from "./witness.ts";

const logSigner = parsePrivateKey(generatePrivateKey(() => "example.org/log"));
const log = parseVerifierKey(logSigner.verifierKey);
const folders: TempDir[] = [];
const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
  for (const folder of folders.splice(0)) await folder.remove();
});

function folder(): string {
  const dir = tempDir("tiermesh-cosigner-");
  folders.push(dir);
  return dir.path;
}

async function witnessAt(
  name: string,
  port = 0,
): Promise<{ address: WitnessAddress; server: WitnessServer; dir: string }> {
  const dir = folder();
  const signer = parsePrivateKey(generatePrivateKey(() => name, "cosignature"));
  const server = await serveWitness(await Witness.open({ signer, logs: [log], folder: dir }), {
    host: "127.0.0.1",
    port,
  });
  closing.push(() => server.close());
  const key = parseVerifierKey(signer.verifierKey);
  return { address: { name, key, url: `http://127.0.0.1:${server.port}` }, server, dir };
}

async function openLog() {
  const dir = folder();
  const writer = await TlogWriter.open(dir, logSigner);
  return {
    dir,
    writer,
    add: (count: number) =>
      writer.append(Array.from({ length: count }, (_, i) => Buffer.from(`entry ${writer.size + i}`))),
    log: {
      get size() {
        return writer.size;
      },
      checkpoint: () => writer.checkpoint(),
      cosign: (text: string, lines: readonly string[]) => writer.cosign(text, lines),
      consistency: (old: number, size: number) =>
        old === 0 || old === size ? [] : consistencyProof(old, size, new TileReader(dir, writer.size).subtrees),
    },
  };
}

function cosign(parts: Awaited<ReturnType<typeof openLog>>, witnesses: WitnessAddress[]) {
  const changes: EventData<"witness_changed">[] = [];
  const cosigner = new Cosigner({
    witnesses,
    log: () => parts.log,
    metrics: new Metrics("test", { loopDelay: false }),
    processLog: createLog("test", "silent"),
    onChange: (change) => changes.push(change),
  });
  const loop: Loop = cosigner.start();
  closing.push(() => loop.stop());
  return { changes, cosigner };
}

test("the newest checkpoint gets the lines of all witnesses, in its own file and in the one for them", async () => {
  const parts = await openLog();
  const one = await witnessAt("witness.example/w1");
  const two = await witnessAt("witness.example/w2");
  const keys = [one.address.key, two.address.key];
  await parts.add(10);
  const { changes } = cosign(parts, [one.address, two.address]);
  const file = path.join(parts.dir, "checkpoint");
  const whole = async (size: number) => {
    const note = await readFile(file);
    expect(note.toString().split("\n")[1]).toBe(String(size));
    expect(cosignersOf(note, keys).map(({ state }) => state)).toEqual(["cosigned", "cosigned"]);
    expect(await readFile(`${file}.witnessed`)).toEqual(note);
  };
  await waitFor(() => whole(10));
  await parts.add(600);
  await waitFor(() => whole(610));
  expect(changes.map(({ state, witness }) => `${witness} ${state}`).toSorted()).toEqual([
    "witness.example/w1 cosigns",
    "witness.example/w2 cosigns",
  ]);
  expect(verifyLog(parts.dir, log, { witnesses: keys })).toMatchObject({ problems: [], witnessed: { size: 610 } });
});

test("a witness that is away is told of once and stops nothing; when it is back it goes on from what it knows", async () => {
  const parts = await openLog();
  const one = await witnessAt("witness.example/w1");
  const two = await witnessAt("witness.example/w2");
  await parts.add(10);
  const { changes, cosigner } = cosign(parts, [one.address, two.address]);
  await waitFor(() => expect(changes).toHaveLength(2));
  await two.server.close();
  await parts.add(300);
  await waitFor(() => expect(changes.at(-1)).toMatchObject({ witness: "witness.example/w2", state: "behind" }));
  expect(changes.at(-1)).toMatchObject({ tree_size: 310, cosigned_size: 10, reason: "ECONNREFUSED" });
  await waitFor(() => expect(cosigner.health["witness.example/w1"]).toEqual({ state: "cosigns", cosigned_size: 310 }));
  await parts.add(5);
  await waitFor(() => expect(cosigner.health["witness.example/w1"]?.cosigned_size).toBe(315));
  const { key, name } = two.address;
  expect(verifyLog(parts.dir, log, { witnesses: [one.address.key, key] }).problems).toEqual([]);
  expect(changes.filter(({ witness, state }) => witness === name && state === "behind")).toHaveLength(1);
});

test("a log that was written anew, or cut back, is refused by the witness and says so", async () => {
  const one = await witnessAt("witness.example/w1");
  const honest = await openLog();
  await honest.add(500);
  const ofHonest = cosign(honest, [one.address]);
  await waitFor(() => expect(ofHonest.changes).toMatchObject([{ state: "cosigns" }]));
  const forged = await openLog();
  await forged.writer.append(Array.from({ length: 600 }, (_, i) => Buffer.from(`forged ${i}`)));
  const { changes } = cosign(forged, [one.address]);
  await waitFor(() => expect(changes).toMatchObject([{ state: "refuses", tree_size: 600, cosigned_size: 0 }]));
  const cut = await openLog();
  await cut.add(100);
  const ofCut = cosign(cut, [one.address]);
  await waitFor(() =>
    expect(ofCut.changes).toMatchObject([
      { state: "refuses", reason: "it has cosigned 500 entries, and here are 100" },
    ]),
  );
  expect(verifyLog(forged.dir, log, { witnesses: [one.address.key] }).witnessed?.witnesses).toMatchObject([
    { state: "absent" },
  ]);
});

test.each([
  ["no cosignature", 200, "— nobody AAAAAAA=\n"],
  ["garbage", 200, "\u0000"],
  ["a size that is none", 409, "many\n"],
  ["more than it may", 200, "x".repeat(100_000)],
  ["an error", 503, "later"],
])("a witness that answers %s counts as away", async (_, status, body) => {
  const server: Server = createServer((request, response) => {
    request.resume();
    response.writeHead(status, { "content-type": "text/x.tlog.size" }).end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  closing.push(() => new Promise((resolve) => server.close(resolve)));
  const key = parseVerifierKey(parsePrivateKey(generatePrivateKey(() => "w", "cosignature")).verifierKey);
  const parts = await openLog();
  await parts.add(3);
  const before = await readFile(path.join(parts.dir, "checkpoint"));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const { changes } = cosign(parts, [{ name: "w", key, url }]);
  await waitFor(() => expect(changes).toMatchObject([{ state: "behind" }]));
  expect(await readFile(path.join(parts.dir, "checkpoint"))).toEqual(before);
});

test("a cosignature that was changed is a finding, and so is one that the log keeps for another history", async () => {
  const parts = await openLog();
  const { address } = await witnessAt("witness.example/w1");
  await parts.add(10);
  const { changes } = cosign(parts, [address]);
  await waitFor(() => expect(changes).toHaveLength(1));
  const file = path.join(parts.dir, "checkpoint.witnessed");
  await waitFor(() => readFile(file));
  const note = await readFile(file, "utf8");
  await writeFile(
    file,
    note.replace(/(.{6})==?\n$/, (all) => (all.startsWith("A") ? `B${all.slice(1)}` : `A${all.slice(1)}`)),
  );
  const { problems } = verifyLog(parts.dir, log, { witnesses: [address.key] });
  expect(problems).toEqual([{ file: "checkpoint.witnessed", what: expect.stringContaining("witness") }]);
  const other = await openLog();
  await other.writer.append([Buffer.from("another")]);
  await writeFile(file, await readFile(path.join(other.dir, "checkpoint")));
  expect(verifyLog(parts.dir, log, { witnesses: [address.key] }).problems).toMatchObject([
    { file: "checkpoint.witnessed", what: expect.stringContaining("are not those that it was signed for") },
  ]);
});

test("a list of witnesses is tlog-policy's; what is wrong in it is told by its line", async () => {
  const file = path.join(folder(), "witnesses");
  expect(await readWitnessList({ list: file })).toEqual([]);
  const key = parsePrivateKey(generatePrivateKey(() => "witness.example/w1", "cosignature")).verifierKey;
  await writeFile(
    file,
    `# ours\nlog ${logSigner.verifierKey}\n\n witness\tbank ${key}  https://w.example/ \nquorum bank\n`,
  );
  expect(await readWitnessList({ list: file })).toMatchObject([{ name: "bank", url: "https://w.example" }]);
  for (const [line, says] of [
    [`witness bank ${key}`, ":1: not"],
    [`witness bank ${logSigner.verifierKey} http://w`, ":1: the key of a log"],
    [`witness bank ${key.slice(0, -4)} http://w`, ":1: "],
    [`witness bank ${key} file:///etc`, ":1: its address"],
    [`witness ${"b".repeat(101)} ${key} http://w`, ":1: a name of more than 100"],
    [`\nwitnesses bank ${key} http://w`, ":2: not"],
    [`witness a ${key} http://w\nwitness b ${key} http://w`, "is there twice"],
  ] as const) {
    await writeFile(file, line);
    await expect(readWitnessList({ list: file })).rejects.toThrow(says);
  }
});
