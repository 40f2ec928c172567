import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import { expect, test } from "vitest";
import { newSigningKeys, writeSignature } from "../../service/release-signature.ts";
import { machineWith, versionIn } from "../../test/kit/installed-machine.ts";
import { outcomeFile, readOutcome, wishFiles, type UpgradeWish } from "../upgrade/files.ts";
import { copyOwned, readOwned } from "./owned-file.ts";
import { readRecord } from "./record.ts";
import { carryOutWish } from "./requested-upgrade.ts";

const onLinux = test.skipIf(process.platform !== "linux");
const quiet = () => undefined;

/** A machine whose agent has fetched a release and asks for it. */
async function asking(options: { releaseKey?: boolean } = {}) {
  const machine = await machineWith(options);
  const { layout, signed } = machine;
  const files = wishFiles(layout.stateDir);
  mkdirSync(files.wishFolder, { recursive: true });
  let count = 0;
  const wish = async (version: string, more: Partial<UpgradeWish> = {}, statement: object = {}) => {
    const { from, signature } = await signed(version, statement);
    const { sha256 } = JSON.parse((JSON.parse(signature) as { statement: string }).statement) as { sha256: string };
    writeFileSync(files.artefact(sha256), readFileSync(from));
    const written = {
      v: 1,
      id: `wish-${++count}`,
      action: "upgrade",
      from: machine.now().record,
      version,
      sha256,
      signature,
      wait_seconds: 1,
      by: "ada",
    };
    writeFileSync(files.wish, JSON.stringify({ ...written, ...more }));
    return { ...written, ...more };
  };
  const act = () => carryOutWish(machine, quiet);
  const told = () => readOutcome(machine.machine.at(layout.upgradeDir));
  return { ...machine, files, wish, act, told };
}

onLinux("what the agent has fetched and asks for is done once, and the agent can read what came of it", async () => {
  const { act, layout, manager, now, told, wish } = await asking();
  expect(await act()).toBeUndefined();
  const { id } = await wish("1.1.0");
  const outcome = { id, phase: "healthy", from: "1.0.0", to: "1.1.0", problem: null };
  expect(await act()).toMatchObject(outcome);
  expect([told(), now().program, manager.restarts]).toMatchObject([outcome, "1.1.0", 1]);
  // The unit may be triggered again by the same file.
  expect([await act(), manager.restarts]).toEqual([undefined, 1]);
  await wish("1.1.0", { action: "rollback", version: null, sha256: null, signature: null });
  expect(await act()).toMatchObject({ phase: "healthy", from: "1.1.0", to: "1.0.0" });
  expect([now().program, versionIn(layout.previous)]).toEqual(["1.0.0", "1.1.0"]);
});

onLinux("a program that does not come up is told as rolled back, and the old one runs", async () => {
  const { act, manager, now, told, wish } = await asking();
  manager.broken.add("2.0.0");
  await wish("2.0.0");
  expect(await act()).toMatchObject({ phase: "rolled_back", problem: "not_healthy", from: "1.0.0", to: "2.0.0" });
  expect([told()?.message, now().program, manager.running]).toEqual([
    expect.stringContaining("1.0.0 is back and runs"),
    "1.0.0",
    true,
  ]);
});

/** As a power cut leaves it between the exchange and the word that the new program is well. */
function cutOff({ layout, machine }: Awaited<ReturnType<typeof asking>>, id: string) {
  const record = readRecord(machine, layout);
  copyFileSync(layout.executable, layout.previous);
  writeFileSync(layout.record, JSON.stringify({ ...record, upgrading_from: record?.version }));
  const outcome = { v: 1, id, phase: "switching", from: record?.version, to: null, problem: null, message: null };
  mkdirSync(layout.upgradeDir, { recursive: true });
  writeFileSync(outcomeFile(layout.upgradeDir), JSON.stringify({ ...outcome, at: "2026-11-26T08:00:00Z" }));
}

onLinux("what was cut off is brought to its end when it is looked at again, and the way back is not lost", async () => {
  const place = await asking();
  const { act, files, layout, manager, now, wish } = place;
  const good = await wish("1.1.0");
  cutOff(place, good.id);
  copyFileSync(files.artefact(good.sha256 ?? ""), layout.executable);
  manager.running = false;
  expect(await act()).toMatchObject({ phase: "healthy", to: "1.1.0" });
  expect([now(), versionIn(layout.previous), manager.running]).toEqual([
    { program: "1.1.0", record: "1.1.0" },
    "1.0.0",
    true,
  ]);
  // The way back, cut off as well.
  const back = await wish("1.1.0", { action: "rollback", version: null, sha256: null, signature: null });
  copyFileSync(layout.previous, `${layout.executable}.old`);
  cutOff(place, back.id);
  copyFileSync(`${layout.executable}.old`, layout.executable);
  expect(await act()).toMatchObject({ phase: "healthy", to: "1.0.0" });
  expect([now(), versionIn(layout.previous)]).toEqual([{ program: "1.0.0", record: "1.0.0" }, "1.1.0"]);

  const bad = await wish("2.0.0");
  cutOff(place, bad.id);
  copyFileSync(files.artefact(bad.sha256 ?? ""), layout.executable);
  manager.broken.add("2.0.0");
  manager.running = false;
  expect(await act()).toMatchObject({ phase: "rolled_back" });
  expect([now(), manager.running]).toEqual([{ program: "1.0.0", record: "1.0.0" }, true]);
});

onLinux("over the bus only what the machine's key has signed is taken: no key, no upgrade", async () => {
  const without = await asking({ releaseKey: false });
  await without.wish("1.1.0");
  expect(await without.act()).toMatchObject({ phase: "failed", problem: "release_key_missing" });
  const { act, now, wish, files, manager } = await asking();
  const other = newSigningKeys();
  const { sha256, signature } = await wish("1.1.0");
  const { statement } = JSON.parse(signature ?? "") as { statement: string };
  const cases: [Partial<UpgradeWish>, string][] = [
    [{ signature: null }, "bad_request"],
    [{ signature: "{}" }, "bad_signature"],
    [{ signature: writeSignature(JSON.parse(statement) as never, other.privateKeyPem) }, "bad_signature"],
    [{ version: "1.2.0" }, "bad_signature"],
    [{ sha256: "0".repeat(64) }, "bad_signature"],
  ];
  for (const [more, problem] of cases) {
    await wish("1.1.0", more);
    expect([more, await act()]).toMatchObject([more, { phase: "failed", problem }]);
  }
  await wish("1.1.0", {}, { arch: "mips" });
  expect(await act()).toMatchObject({ problem: "bad_signature" });
  await wish("0.9.0");
  expect(await act()).toMatchObject({ problem: "downgrade" });
  await wish("1.1.0", { action: "rollback", version: null, sha256: null, signature: null });
  expect(await act()).toMatchObject({ problem: "no_previous" });
  // Other bytes of the right length, and fewer.
  await wish("1.1.0");
  const artefact = files.artefact(sha256 ?? "");
  const bytes = readFileSync(artefact);
  writeFileSync(artefact, bytes.fill(7, 100, 110));
  expect(await act()).toMatchObject({ problem: "bad_artefact", message: expect.stringContaining("SHA-256") });
  await wish("1.1.0");
  writeFileSync(artefact, "short");
  expect(await act()).toMatchObject({ problem: "bad_artefact" });
  expect([now().program, manager.restarts]).toEqual(["1.0.0", 0]);
});

onLinux("links, pipes and large files in the agent's folder bring root to read nothing else", async () => {
  const { act, files, layout, machine, now, wish } = await asking();
  const secret = path.join(path.dirname(layout.stateDir), "secret");
  const { sha256 } = await wish("1.1.0");
  const artefact = files.artefact(sha256 ?? "");
  writeFileSync(secret, readFileSync(artefact));
  rmSync(artefact);
  symlinkSync(secret, artefact);
  expect(await act()).toMatchObject({ phase: "failed", problem: "bad_artefact" });
  await wish("1.1.0");
  rmSync(artefact);
  spawnSync("mkfifo", [artefact]);
  expect(await act()).toMatchObject({ problem: "bad_artefact", message: expect.stringContaining("no plain file") });
  expect(existsSync(path.join(machine.at(layout.upgradeDir), "staged", "program"))).toBe(false);
  // The wish itself: nothing can be told to who asks nothing that can be understood.
  for (const text of ["{", `{"pad":"${"x".repeat(40_000)}"}`, JSON.stringify({ v: 1, id: "../x" })]) {
    writeFileSync(files.wish, text);
    await expect(act()).rejects.toMatchObject({ code: expect.stringMatching("bad_request|forbidden") });
  }
  rmSync(files.wish);
  symlinkSync(secret, files.wish);
  await expect(act()).rejects.toMatchObject({ code: "forbidden" });
  expect(now().program).toBe("1.0.0");
  // A file of somebody else's, in place of its own, by a link above it.
  const uid = process.getuid?.() ?? 0;
  await expect(readOwned(secret, uid + 1, 1_000_000)).rejects.toMatchObject({ code: "forbidden" });
  await expect(copyOwned(secret, `${secret}.copy`, uid + 1, 5)).rejects.toMatchObject({ code: "forbidden" });
  expect(existsSync(`${secret}.copy`)).toBe(false);
});

onLinux("who may not change the system is told so, and beside a package nothing is done", async () => {
  const { act, machine, wish } = await asking();
  await wish("1.1.0");
  machine.privileged = false;
  await expect(act()).rejects.toMatchObject({ code: "forbidden" });
});
