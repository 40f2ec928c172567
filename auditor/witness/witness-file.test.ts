import { createServer } from "node:https";
import { rm, writeFile } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import path from "node:path";
import { afterEach, expect, test } from "vitest";
import { issueServer, makeAuthority } from "../../service/certificates/index.ts";
import { createLog } from "../../service/log.ts";
import { Metrics } from "../../service/metrics.ts";
import { tempDir, type TempDir } from "../../test/kit/temp-dir.ts";
import { waitFor } from "../../test/kit/wait-for.ts";
import { generatePrivateKey, parsePrivateKey, parseVerifierKey, type NoteSigner } from "../tlog/keys.ts";
import { TlogWriter } from "../tlog/writer.ts";
import { askWitness } from "./ask.ts";
import { Cosigner } from "./cosigner.ts";
import { serveWitness } from "./server.ts";
import { WitnessFile } from "./witness-file.ts";
import { readWitnessList } from "./witness-list.ts";
import { Witness } from "./witness.ts";

const logSigner = parsePrivateKey(generatePrivateKey(() => "example.org/log"));
const folders: TempDir[] = [];
const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
  for (const folder of folders.splice(0)) await folder.remove();
});

function folder(): string {
  const dir = tempDir("tiermesh-witness-file-");
  folders.push(dir);
  return dir.path;
}

const open = (signer: NoteSigner) =>
  Witness.open({ signer, logs: [parseVerifierKey(logSigner.verifierKey)], folder: folder() });

/** A witness that runs, and its line in a list. */
async function witness(name: string) {
  const signer = parsePrivateKey(generatePrivateKey(() => name, "cosignature"));
  const server = await serveWitness(await open(signer), { host: "127.0.0.1", port: 0 });
  closing.push(() => server.close());
  return `witness ${name} ${signer.verifierKey} http://127.0.0.1:${server.port}\n`;
}

test("a changed list is taken up while the log goes on; a wrong one, or one that is gone, leaves the one before and is told by its line", async () => {
  const list = path.join(folder(), "witnesses");
  const [one, two] = [await witness("one"), await witness("two")];
  const log = await TlogWriter.open(folder(), logSigner);
  const problems: (string | null)[] = [];
  const file = new WitnessFile({
    list,
    onChange: (witnesses) => cosigner.use(witnesses),
    onProblem: (problem) => problems.push(problem),
  });
  const cosigner = new Cosigner({
    witnesses: await file.open(),
    log: () => ({
      size: log.size,
      checkpoint: () => log.checkpoint(),
      cosign: (text, lines) => log.cosign(text, lines),
      // Each witness here sees the log for the first time, or the same head again.
      consistency: () => [],
    }),
    metrics: new Metrics("test", { loopDelay: false }),
    processLog: createLog("test", "silent"),
    onChange: () => undefined,
  });
  const loop = cosigner.start();
  closing.push(() => loop.stop());
  await log.append([Buffer.from("entry")]);
  const good = { state: "cosigns", cosigned_size: 1 };
  expect(cosigner.health).toEqual({});
  await writeFile(list, one);
  await file.look();
  await waitFor(() => expect(cosigner.health).toEqual({ one: good }));
  await writeFile(list, one + two);
  await file.look();
  expect(cosigner.health["one"]).toEqual(good);
  await waitFor(() => expect(cosigner.health).toEqual({ one: good, two: good }));
  await writeFile(list, `${two}witness half\n`);
  await file.look();
  await file.look();
  expect(file.problem).toContain("witnesses:2: not");
  await rm(list);
  await file.look();
  expect(file.problem).toContain("is gone");
  expect(Object.keys(cosigner.health)).toEqual(["one", "two"]);
  await writeFile(list, two);
  await file.look();
  expect(file.problem).toBeNull();
  expect(cosigner.health).toEqual({ two: good });
  expect(problems).toEqual([expect.stringContaining(":2:"), expect.stringContaining("is gone"), null]);
});

test("a witness behind TLS is asked by the authority that is named, and by no other", async () => {
  const dir = folder();
  const authority = await makeAuthority({ name: "Bank" });
  const { certPem: cert, keyPem: key } = await issueServer({ authority, hosts: ["127.0.0.1"] });
  const signer = parsePrivateKey(generatePrivateKey(() => "bank", "cosignature"));
  const bank = await open(signer);
  const server = createServer({ cert, key }, (request, response) => {
    const parts: Buffer[] = [];
    request.on("data", (part: Buffer) => parts.push(part));
    request.on("end", () => {
      void bank.addCheckpoint(Buffer.concat(parts).toString()).then(({ status, body, type }) => {
        response.writeHead(status, { "content-type": type }).end(body);
      });
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  closing.push(() => new Promise((resolve) => server.close(resolve)));
  const [list, ca] = [path.join(dir, "witnesses"), path.join(dir, "ca.pem")];
  const { port } = server.address() as AddressInfo;
  await writeFile(list, `witness bank ${signer.verifierKey} https://127.0.0.1:${port}\n`);
  const log = await TlogWriter.open(folder(), logSigner);
  await log.append([Buffer.from("entry")]);
  const submission = { note: (await log.checkpoint()).toString(), size: 1, consistency: () => [] };
  const ask = async (caFile: string | undefined) => {
    const [address] = await readWitnessList({ list, ca: caFile });
    if (address === undefined) throw new Error("no witness");
    return askWitness(address, submission, 0, new AbortController().signal);
  };
  await writeFile(ca, authority.certPem);
  expect(await ask(ca)).toMatchObject({ state: "cosigned" });
  expect(await ask(undefined)).toMatchObject({ state: "away", reason: expect.stringMatching(/VERIFY|CERT/) });
  await writeFile(ca, (await makeAuthority({ name: "Bank" })).certPem);
  expect(await ask(ca)).toMatchObject({ state: "away", reason: expect.stringMatching(/SIGNATURE|VERIFY|CERT/) });
  for (const text of ["", "no certificate", cert]) {
    await writeFile(ca, text);
    await expect(ask(ca)).rejects.toMatchObject({
      code: "bad_config",
      message: expect.stringContaining("ca.pem: holds no"),
    });
  }
});
