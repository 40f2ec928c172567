import { cp, readFile, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { afterAll, expect, test } from "vitest";
import { generatePrivateKey, parsePrivateKey, parseVerifierKey } from "../../auditor/tlog/keys.ts";
import { pruneTiles } from "../../auditor/tlog/minimum-index.ts";
import { TlogWriter } from "../../auditor/tlog/writer.ts";
import { formatAddCheckpoint } from "../../auditor/witness/request.ts";
import { Witness } from "../../auditor/witness/witness.ts";
import { buildForeignChecker } from "../kit/foreign-go.ts";
import { tempDir, type TempDir } from "../kit/temp-dir.ts";

// Our logs, checked by Go's packages and none of our code (test/kit/foreign-go.ts).
const dir: TempDir = tempDir("tiermesh-foreign-");
const go = buildForeignChecker(dir.path);
const { absent } = go;
if (absent !== undefined) process.stderr.write(`test/foreign/tlog.test.ts is skipped: ${absent}\n`);
afterAll(() => dir.remove());

const signer = parsePrivateKey(generatePrivateKey((unique) => `tiermesh.internal/test/${unique}`));

function check(folder: string, ...old: string[]): { status: number | null; out: string; err: string } {
  return go.run(folder, signer.verifierKey, ...old);
}

const entry = (i: number) => Buffer.from(`{"entry":${i},"pad":"${"x".repeat(i % 300)}"}`);
const entries = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => entry(from + i));

test.skipIf(absent !== undefined)(
  "Go's verifier accepts our logs of every shape, entry by entry, and each earlier checkpoint as their beginning",
  async () => {
    const folder = path.join(dir.path, "log");
    const log = await TlogWriter.open(folder, signer);
    const kept: string[] = [];
    for (const size of [1, 2, 3, 255, 256, 257, 511, 512, 700, 66_000]) {
      await log.append(entries(log.size, size));
      expect(check(folder, ...kept)).toEqual({ status: 0, out: `ok ${size}`, err: "" });
      kept.push(path.join(dir.path, `checkpoint-${size}`));
      await cp(path.join(folder, "checkpoint"), kept.at(-1) ?? "");
    }
  },
  120_000,
);

test.skipIf(absent !== undefined)(
  "Go's verifier accepts a pruned log from its first entry on, and later checkpoints as its beginnings",
  async () => {
    const folder = path.join(dir.path, "pruned");
    const log = await TlogWriter.open(folder, signer);
    await log.append(entries(0, 66_000));
    const kept = path.join(dir.path, "kept-66000");
    await cp(path.join(folder, "checkpoint"), kept);
    await log.append(entries(66_000, 66_300));
    for (const minimum of [512, 65_792]) {
      await pruneTiles(folder, minimum);
      expect(check(folder, kept)).toEqual({ status: 0, out: "ok 66300", err: "" });
    }
    await rm(path.join(folder, "tile/entries/257"));
    expect(check(folder)).toMatchObject({ status: 1, out: "" });
  },
  120_000,
);

test.skipIf(absent !== undefined)(
  "Go's verifier passes over a second signature by ML-DSA-44, which it does not know",
  async () => {
    const folder = path.join(dir.path, "mldsa");
    const second = parsePrivateKey(generatePrivateKey(() => signer.name, "cosignature", "ml-dsa-44"));
    const log = await TlogWriter.open(folder, signer, undefined, undefined, [second]);
    await log.append(entries(0, 300));
    expect((await readFile(path.join(folder, "checkpoint"))).length).toBeGreaterThan(3200);
    expect(check(folder)).toEqual({ status: 0, out: "ok 300", err: "" });
  },
);

test.skipIf(absent !== undefined)(
  "Go's verifier refuses what ours refuses: a changed entry, tile, checkpoint or fork",
  async () => {
    const folder = path.join(dir.path, "changed");
    const log = await TlogWriter.open(folder, signer);
    await log.append(entries(0, 300));
    for (const name of ["checkpoint", "tile/0/000", "tile/0/001.p/44", "tile/entries/000", "tile/entries/001.p/44"]) {
      const file = path.join(folder, name);
      const good = await readFile(file);
      const at = Math.floor(good.length / 2);
      await writeFile(file, good.with(at, (good[at] ?? 0) ^ 1));
      expect(check(folder)).toMatchObject({ status: 1, out: "" });
      await writeFile(file, good);
    }
    expect(check(folder).out).toBe("ok 300");
    const fork = path.join(dir.path, "fork");
    const other = await TlogWriter.open(fork, signer);
    await other.append(entries(1, 400));
    expect(check(fork).out).toBe("ok 399");
    expect(check(fork, path.join(folder, "checkpoint"))).toMatchObject({ status: 1, out: "" });
  },
);

test.skipIf(absent !== undefined)(
  "a checker written in Go from the specification accepts our witnesses' cosignatures, and no others",
  async () => {
    const folder = path.join(dir.path, "witnessed");
    const log = await TlogWriter.open(folder, signer);
    await log.append(entries(0, 300));
    const file = path.join(folder, "checkpoint");
    const note = await readFile(file, "utf8");
    const witnesses = ["w.example/1", "w.example/2"].map((name) =>
      parsePrivateKey(generatePrivateKey(() => name, "cosignature")),
    );
    const keys = witnesses.map(({ verifierKey }) => verifierKey);
    const text = note.slice(0, note.indexOf("\n\n") + 1);
    const answers: { body: string; status: number }[] = [];
    for (const [i, witness] of witnesses.entries()) {
      const logs = [parseVerifierKey(signer.verifierKey)];
      const opened = await Witness.open({ signer: witness, logs, folder: path.join(dir.path, `w${i}`) });
      answers.push(await opened.addCheckpoint(formatAddCheckpoint({ oldSize: 0, proof: [], checkpoint: note })));
    }
    const [one, two] = answers.map(({ body }) => body);
    expect(go.run("-cosigned", file, ...keys).out).toBe("cosigned 0");
    await log.cosign(text, [note.slice(text.length + 1), one ?? ""]);
    expect(go.run("-cosigned", file, ...keys).out).toBe("cosigned 1");
    await log.cosign(text, [note.slice(text.length + 1), one ?? "", two ?? ""]);
    expect(go.run("-cosigned", file, ...keys).out).toBe("cosigned 2");
    expect(check(folder).out).toBe("ok 300");
    const changed = (await readFile(file, "utf8")).replace("\n300\n", "\n301\n");
    await writeFile(file, changed);
    expect(go.run("-cosigned", file, ...keys).status).toBe(1);
  },
);
