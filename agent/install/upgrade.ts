import { existsSync } from "node:fs";
import { chmod, link, rename, rm, stat } from "node:fs/promises";
import path from "node:path";
import { z } from "zod";
import { MeshError } from "../../bus-schemas/index.ts";
import { tryLock } from "../../service/file-lock.ts";
import { fileDigest } from "../../service/release-signature.ts";
import { copySynced, textFile } from "./files.ts";
import { waitUntilHealthy } from "./healthy.ts";
import type { Place } from "./install.ts";
import { checkFormat } from "./executable-format.ts";
import { checkNotPackaged, checkPrivileged, checkSpace } from "./preflight.ts";
import { readRecord, writeRecord, type InstallRecord } from "./record.ts";
import { expectedOf, type Expected } from "./release-check.ts";
import { takeSteps, type Taken } from "./steps.ts";
import { isOlder } from "./version-order.ts";

export interface UpgradeRequest {
  /** The new program. */
  from: string;
  /** Text of its signature file. */
  signature: string | undefined;
  sha256: string | undefined;
  /** Takes an older version too. */
  downgrade: boolean;
  /** The new agent has to be on the bus within this time, milliseconds. */
  limitMs: number;
  /** Called when all checks have passed, before the first change. */
  onExchange?: () => Promise<void>;
  /** The agent has to run afterwards, whatever it does now; else one that does not run is not started. */
  mustRun?: boolean;
}

export interface Upgraded {
  from: string;
  to: string;
  /** False when it was that very program already. */
  changed: boolean;
}

/** What `print-unit --json` of the new program says; it knows best how it wants to be started. */
const Definitions = z
  .array(z.object({ path: z.string(), text: z.string().max(100_000), mode: z.number().int() }))
  .max(8);

/**
 * Replaces the installed program by `from`, starts it and waits until it is on the bus; when it is not, puts the former one back and waits
 * for that. The former one stays beside as `previous`.
 * @throws MeshError saying why, and what runs now; before the exchange nothing was changed
 */
export function upgradeAgent(place: Place, request: UpgradeRequest, say: (line: string) => void): Promise<Upgraded> {
  const { machine } = place;
  checkPrivileged(machine, "upgrade");
  checkNotPackaged(machine, "upgrade");
  return alone(place, async () => {
    const expected = expectedOf(place, request);
    await checkFormat(request.from, machine.platform, process.arch);
    return exchange(place, { ...request, expected }, say);
  });
}

/** Goes back to the program before the last upgrade. @throws MeshError `not_found` when there is none */
export function rollBackAgent(
  place: Place,
  { limitMs, ...more }: Pick<UpgradeRequest, "limitMs" | "onExchange" | "mustRun">,
  say: (line: string) => void,
): Promise<Upgraded> {
  const { machine, layout } = place;
  checkPrivileged(machine, "upgrade");
  return alone(place, async () => {
    // One that was cut off behind the exchange goes on from there, and does not exchange the two again.
    const from = machine.at((await isHalfDone(place)) ? layout.executable : layout.previous);
    if (!existsSync(from)) throw new MeshError("not_found", `there is no ${layout.previous} to go back to`);
    // It is root's own file, and was checked when it came.
    const expected = { sha256: await fileDigest(from), version: undefined };
    return exchange(place, { from, expected, downgrade: true, limitMs, ...more }, say);
  });
}

interface Exchange {
  from: string;
  expected: Expected;
  downgrade: boolean;
  limitMs: number;
  onExchange?: (() => Promise<void>) | undefined;
  mustRun?: boolean | undefined;
}

/** Whether an exchange was cut off when the new program was in its place, and was not found healthy yet. */
async function isHalfDone({ layout, machine }: Place): Promise<boolean> {
  const record = readRecord(machine, layout);
  if (record === undefined || record.upgrading_from === null) return false;
  const { stdout } = await machine.run(machine.at(layout.executable), ["--version"], { timeoutMs: 20_000 });
  return stdout.trim() !== record.version;
}

async function exchange(place: Place, request: Exchange, say: (line: string) => void): Promise<Upgraded> {
  const { machine, layout, manager } = place;
  const record = readRecord(machine, layout);
  const state = await manager.state(layout);
  if (record === undefined || !state.installed)
    throw new MeshError("not_found", "no agent is installed here; see `tiermesh-agent install --help`");
  const wanted = state.running || request.mustRun === true;
  const program = machine.at(layout.executable);
  const staged = `${program}.new`;
  await checkSpace(program, (await stat(request.from)).size);
  const version = await stage(place, request, staged);
  try {
    if (version === record.version && (await fileDigest(program)) === request.expected.sha256) {
      await rm(staged, { force: true });
      return { from: version, to: version, changed: false };
    }
    if (!request.downgrade && isOlder(version, record.version))
      throw new MeshError(
        "conflict",
        `${version} is older than ${record.version}, which is installed (--downgrade takes it)`,
        {
          field: "from",
        },
      );
    await request.onExchange?.();
  } catch (error) {
    await rm(staged, { force: true });
    throw error;
  }
  say(`checked: ${version} runs here`);
  await save(place, { ...record, upgrading_from: record.version });
  // After one that was cut off the new program may be in its place already; then what is to be kept is kept.
  if ((await fileDigest(program)) !== request.expected.sha256) await keepPrevious(program, machine.at(layout.previous));
  await rename(staged, program);
  let definitions: Taken | undefined;
  try {
    definitions = await newDefinitions(place, record, say);
    await restart(place, { version, limitMs: request.limitMs, wanted });
  } catch (cause) {
    await definitions?.undo();
    throw await putBack(place, record, { version, limitMs: request.limitMs, wanted, cause });
  }
  await save(place, { ...record, version, upgrading_from: null });
  return { from: record.version, to: version, changed: true };
}

/** Copies the new program beside the old one, and only that copy is looked at, run and used: the original may change meanwhile. */
async function stage({ machine }: Place, { from, expected }: Exchange, staged: string): Promise<string> {
  try {
    await rm(staged, { force: true });
    await copySynced(from, staged);
    await chmod(staged, 0o755);
    if ((await fileDigest(staged)) !== expected.sha256)
      throw new MeshError("forbidden", `${from} is not the file that was vouched for: its SHA-256 differs`, {
        field: "from",
      });
    const { code, stdout, stderr } = await machine.run(staged, ["--version"], { timeoutMs: 20_000 });
    const version = stdout.trim();
    if (code !== 0 || !/^\S{1,64}$/.test(version))
      throw new MeshError("bad_config", `${from} does not run on this machine: ${stderr.trim().slice(-300)}`, {
        field: "from",
      });
    if (expected.version !== undefined && expected.version !== version)
      throw new MeshError("forbidden", `${from} says that it is ${version}, and was signed as ${expected.version}`, {
        field: "signature",
      });
    return version;
  } catch (error) {
    await rm(staged, { force: true });
    throw error;
  }
}

async function keepPrevious(program: string, previous: string): Promise<void> {
  const fresh = `${previous}.new`;
  await rm(fresh, { force: true });
  // A running program can be renamed on Windows, and not be replaced; elsewhere there is always one of that name.
  if (process.platform === "win32") await rename(program, previous);
  else {
    await link(program, fresh);
    await rename(fresh, previous);
  }
}

/** The new program's own definitions, where they differ. */
async function newDefinitions(place: Place, { profile }: InstallRecord, say: (line: string) => void): Promise<Taken> {
  const { machine, layout, manager } = place;
  const args = ["print-unit", "--json", ...(profile === null ? [] : ["--profile", profile])];
  const print = (...more: string[]) =>
    machine.run(machine.at(layout.executable), [...args, ...more], { timeoutMs: 20_000 });
  // One from before there were upgrades over the bus has no `--all`, and no more than what it prints without.
  const all = await print("--all");
  const { code, stdout } = all.code === 0 ? all : await print();
  const said = Definitions.safeParse(code === 0 ? parseJson(stdout) : undefined);
  const known = manager.definitions({ layout, profile: profile ?? undefined }).map((definition) => definition.path);
  // It may change how it is started, and not write anywhere else.
  if (!said.success || said.data.some(({ path: file }) => !known.includes(file)))
    throw new MeshError("bad_config", "the new program's print-unit cannot be understood");
  const steps = said.data.map(({ path: file, text, mode }) =>
    textFile({ name: manager.name, file: machine.at(file), mode: mode & 0o777, text }),
  );
  return takeSteps(steps, say);
}

async function restart(
  place: Place,
  { version, limitMs, wanted }: { version: string; limitMs: number; wanted: boolean },
): Promise<void> {
  if (!wanted || place.manager.notRunning() !== undefined) return;
  await place.manager.restart(place.layout);
  await waitUntilHealthy(place, { version, limitMs });
}

/** @returns the error that tells what happened and what runs now */
async function putBack(
  place: Place,
  record: InstallRecord,
  { version, limitMs, wanted, cause }: { version: string; limitMs: number; wanted: boolean; cause: unknown },
): Promise<MeshError> {
  const { machine, layout } = place;
  const why = cause instanceof Error ? cause.message : "unexpected error";
  const failed = `${version} did not come up: ${why}`;
  try {
    const program = machine.at(layout.executable);
    if (process.platform === "win32") await rename(program, `${program}.undo`);
    await rename(machine.at(layout.previous), program);
    await save(place, { ...record, upgrading_from: null });
    await restart(place, { version: record.version, limitMs, wanted });
    return new MeshError("internal", `${failed}. ${record.version} is back${wanted ? " and runs" : ""}`, { cause });
  } catch (error) {
    const left = error instanceof Error ? error.message : "unexpected error";
    return new MeshError(
      "internal",
      `${failed}. ${record.version} was put back and does not run either: ${left}; see \`tiermesh-agent doctor\``,
      { cause },
    );
  }
}

async function save({ machine, layout }: Place, record: InstallRecord): Promise<void> {
  const text = writeRecord(record);
  await textFile({ name: "record", file: machine.at(layout.record), mode: 0o644, text }).take();
}

/** @throws MeshError `conflict` while another upgrade of this machine runs */
async function alone<T>({ machine, layout }: Place, work: () => Promise<T>): Promise<T> {
  const folder = path.dirname(machine.at(layout.record));
  if (!existsSync(folder)) throw new MeshError("not_found", "no agent is installed here");
  const lock = await tryLock(path.join(folder, "upgrade.lock"));
  if ("heldBy" in lock) throw new MeshError("conflict", `an upgrade is under way already (process ${lock.heldBy.pid})`);
  try {
    return await work();
  } finally {
    await lock.release();
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
