import { existsSync } from "node:fs";
import { mkdir, rm } from "node:fs/promises";
import path from "node:path";
import { MeshError, type UpgradeProblem } from "../../bus-schemas/index.ts";
import {
  MAX_WISH_BYTES,
  UpgradeWish,
  isFinal,
  outcomeFile,
  readOutcome,
  wishFiles,
  type UpgradeOutcome,
} from "../upgrade/files.ts";
import { UpgradeError, problemOf } from "../upgrade/upgrade-error.ts";
import { findAccount } from "./account.ts";
import { textFile } from "./files.ts";
import { releaseKeyFile, type Place } from "./install.ts";
import { copyOwned, readOwned } from "./owned-file.ts";
import { checkNotPackaged, checkPrivileged } from "./preflight.ts";
import { readRecord } from "./record.ts";
import { checkStatement, pinnedKey } from "./release-check.ts";
import { rollBackAgent, upgradeAgent, type Upgraded } from "./upgrade.ts";

/**
 * Root's part of an upgrade over the bus (ADR 0030): looks at what the agent asks for, takes nothing of its word for granted, and does it
 * as `upgrade --from` would. The program is copied out of the agent's reach first, and only that copy is checked and used.
 * What came of it stands in a file of root's that the agent may read.
 * Also run at the start of the machine: what a power cut has left in the middle is then brought to its end, or taken back.
 * @returns undefined when nothing is asked for, or what is was done already
 * @throws MeshError `forbidden` without the right to; `conflict` beside a package; what cannot be told to the agent
 */
export async function carryOutWish(place: Place, say: (line: string) => void): Promise<UpgradeOutcome | undefined> {
  const { layout, machine } = place;
  checkPrivileged(machine, "upgrade");
  checkNotPackaged(machine, "upgrade");
  const owner = (await findAccount(machine, layout.account))?.uid;
  const upgradeDir = machine.at(layout.upgradeDir);
  await mkdir(upgradeDir, { recursive: true, mode: 0o755 });
  const wish = await readWish(place, owner);
  if (wish === undefined) return undefined;
  const before = readOutcome(upgradeDir);
  if (before?.id === wish.id && isFinal(before)) return undefined;

  const running = () => readRecord(machine, layout)?.version ?? null;
  const from = running();
  const base = { v: 1 as const, id: wish.id, from, to: wish.version };
  const tell = async (outcome: Pick<UpgradeOutcome, "phase" | "problem" | "message"> & { to?: string | null }) => {
    const whole: UpgradeOutcome = { ...base, ...outcome, at: new Date(machine.nowMs()).toISOString() };
    await textFile({
      name: "outcome",
      file: outcomeFile(upgradeDir),
      mode: 0o644,
      text: `${JSON.stringify(whole, null, 2)}\n`,
    }).take();
    return whole;
  };
  let exchanging = false;
  const onExchange = async () => {
    exchanging = true;
    await tell({ phase: "switching", problem: null, message: null });
  };
  try {
    const done = await act(place, wish, { owner, onExchange, say });
    return await tell({ phase: "healthy", problem: null, message: null, to: done.to });
  } catch (error) {
    const message = (error instanceof Error ? error.message : "unexpected error").slice(0, 500);
    say(message);
    if (!exchanging) return tell({ phase: "failed", problem: problemOf(error), message });
    return tell({ phase: running() === from ? "rolled_back" : "failed", problem: "not_healthy", message });
  }
}

async function readWish({ layout, machine }: Place, owner: number | undefined): Promise<UpgradeWish | undefined> {
  try {
    const text = await readOwned(wishFiles(machine.at(layout.stateDir)).wish, owner, MAX_WISH_BYTES);
    return UpgradeWish.parse(JSON.parse(text));
  } catch (error) {
    if (error instanceof MeshError && error.code === "not_found") return undefined;
    if (error instanceof MeshError) throw error;
    throw new MeshError("bad_request", "what the agent asks for cannot be understood", { field: "wish", cause: error });
  }
}

async function act(
  place: Place,
  { action, sha256, signature, version, wait_seconds: seconds }: UpgradeWish,
  {
    owner,
    onExchange,
    say,
  }: { owner: number | undefined; onExchange: () => Promise<void>; say: (line: string) => void },
): Promise<Upgraded> {
  const { layout, machine } = place;
  const limitMs = seconds * 1000;
  if (action === "rollback") {
    if (!existsSync(machine.at(layout.previous)))
      throw new UpgradeError(
        "no_previous",
        "there is no program to go back to: this one was not upgraded, or went back already",
      );
    return rollBackAgent(place, { limitMs, onExchange, mustRun: true }, say);
  }
  const key = pinnedKey(machine.at(releaseKeyFile(layout)));
  if (key === undefined)
    throw new UpgradeError("release_key_missing", "this machine trusts no release key (install --release-key)");
  if (signature === null || sha256 === null) throw new UpgradeError("bad_request", "an upgrade without a signature");
  const signed = await as("bad_signature", () =>
    checkStatement(signature, key, { platform: machine.platform, arch: process.arch }),
  );
  if (signed.sha256 !== sha256 || signed.version !== version)
    throw new UpgradeError("bad_signature", "the signature is of another program than was asked for");
  const staging = path.join(machine.at(layout.upgradeDir), "staged");
  const staged = path.join(staging, "program");
  try {
    // On Windows its rights come from the folder, which is root's alone (windows-upgrade.ts).
    await mkdir(staging, { recursive: true, mode: 0o700 });
    const artefact = wishFiles(machine.at(layout.stateDir)).artefact(sha256);
    await as("bad_artefact", () => copyOwned(artefact, staged, owner, signed.bytes));
    const request = { from: staged, signature, sha256, downgrade: false, limitMs, onExchange, mustRun: true };
    return await upgradeAgent(place, request, say);
  } catch (error) {
    throw refined(error);
  } finally {
    await rm(staged, { force: true });
  }
}

async function as<T>(problem: UpgradeProblem, work: () => T | Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === "ENOSPC" || code === "EDQUOT")
      throw new UpgradeError("no_space", "no space is left for the program", cause);
    throw cause instanceof MeshError ? new UpgradeError(problem, cause.message, cause) : cause;
  }
}

/** What `upgrade` says, in the words of upgrades over the bus. */
function refined(error: unknown): unknown {
  if (!(error instanceof MeshError) || error instanceof UpgradeError) return error;
  if (error.message.startsWith("not enough space")) return new UpgradeError("no_space", error.message, error);
  if (error.code === "forbidden") return new UpgradeError("bad_artefact", error.message, error);
  if (error.code === "conflict")
    return new UpgradeError(error.field === "from" ? "downgrade" : "busy", error.message, error);
  return error;
}
