import path from "node:path";
import { MeshError } from "../../bus-schemas/index.ts";
import { checkPublicKey } from "../../service/release-signature.ts";
import { fingerprintOf } from "../invitation.ts";
import type { LocalStatus } from "../local-control/protocol.ts";
import type { Profile } from "../manners/settings.ts";
import { wishFiles } from "../upgrade/files.ts";
import { accountStep, findAccount } from "./account.ts";
import { folder, forgetUndo, programFile, textFile } from "./files.ts";
import { waitUntilHealthy } from "./healthy.ts";
import { checkToken, installedMember, joinAsService } from "./join.ts";
import type { Layout } from "./layout.ts";
import type { Machine } from "./machine.ts";
import { checkBeforeInstall } from "./preflight.ts";
import { checkProviders } from "./providers-check.ts";
import { readRecord, writeRecord } from "./record.ts";
import type { ServiceManager, ServiceOptions } from "./service-manager.ts";
import { takeSteps, type Step } from "./steps.ts";
import { wrapperFile } from "./windows-service.ts";

/** A start with probes and a bus takes seconds; a slow machine more. Milliseconds. */
const START_LIMIT_MS = 60_000;

/** The machine, and where and by what things are installed on it. */
export interface Place {
  machine: Machine;
  layout: Layout;
  manager: ServiceManager;
}

export interface InstallRequest {
  /** The single executable that is installed. */
  executable: string;
  version: string;
  token?: string | undefined;
  profile?: Profile | undefined;
  /** Public key, PEM, that later upgrades have to be signed by. */
  releaseKey?: string | undefined;
  /** WinSW, on Windows. */
  wrapper?: string | undefined;
  start: boolean;
}

export interface Installed {
  /** What was changed; empty when all was so already. */
  changed: string[];
  node: string | null;
  running: boolean;
  /** For people: what was not done, and what to do. */
  notes: string[];
}

/**
 * Installs the agent as a service of this machine: whole, or not at all. Called again it changes what is different and nothing else.
 * @throws MeshError saying what is in the way and what to do; the machine is then as it was. Only when the agent was installed and has
 * joined, and then does not come up, is it left installed: its token is used
 */
export async function installAgent(
  place: Place,
  request: InstallRequest,
  say: (line: string) => void,
): Promise<Installed> {
  const { machine, layout, manager } = place;
  const before = readRecord(machine, layout);
  const profile = request.profile ?? before?.profile ?? undefined;
  const options: ServiceOptions = { layout, profile };
  await checkBeforeInstall(place, { executable: request.executable, definitions: manager.definitions(options) });
  if (profile === "egress") await checkProviders(machine, layout);
  if (request.releaseKey !== undefined) checkPublicKey(request.releaseKey);
  const member = installedMember(machine, layout);
  const token = member === undefined ? request.token : undefined;
  if (token !== undefined) checkToken(token, machine.nowMs());

  const { changed } = await takeSteps([...stepsOf(place, request, options), ...joinSteps(place, token)], say);
  await forgetUndo(machine.at(layout.executable));
  const notes: string[] = [];
  if (member !== undefined && request.token !== undefined)
    notes.push(
      `this machine is ${member.node_id} already; the token was not used (to join anew: tiermesh-agent join TOKEN)`,
    );
  const node = member?.node_id ?? (token === undefined ? null : (installedMember(machine, layout)?.node_id ?? null));
  const status = await startIfPossible(place, request, { changed: changed.length > 0, joined: node !== null, notes });
  return { changed, node, running: status !== undefined, notes };
}

function stepsOf({ machine, layout, manager }: Place, request: InstallRequest, options: ServiceOptions): Step[] {
  const before = readRecord(machine, layout);
  let accountMade = before?.account_made ?? false;
  // systemd makes the folders of an image's services when they first start; there are no accounts here to give them to.
  const live = machine.root === "";
  const owner = () => findAccount(machine, layout.account);
  const record = (): Step => {
    const text = () =>
      writeRecord({
        v: 1,
        version: request.version,
        profile: options.profile ?? null,
        account_made: accountMade,
        upgrading_from: null,
      });
    // Whether the account had to be made is known when its step was taken.
    return {
      name: "record",
      take: () => textFile({ name: "record", file: machine.at(layout.record), mode: 0o644, text: text() }).take(),
    };
  };
  return [
    accountStep(machine, layout, () => (accountMade = true)),
    folder("configuration", machine.at(layout.configDir), 0o755),
    programFile({ name: "program", file: machine.at(layout.executable), mode: 0o755, from: request.executable }),
    ...(request.wrapper === undefined
      ? []
      : [programFile({ name: "wrapper", file: machine.at(wrapperFile(layout)), mode: 0o755, from: request.wrapper })]),
    ...(request.releaseKey === undefined
      ? []
      : [
          textFile({
            name: "release key",
            file: machine.at(releaseKeyFile(layout)),
            mode: 0o644,
            text: request.releaseKey,
          }),
        ]),
    ...(live
      ? [
          folder("state", layout.stateDir, 0o700, owner),
          folder("cache", layout.cacheDir, 0o700, owner),
          ...(layout.logDir === null ? [] : [folder("logs", layout.logDir, 0o755, owner)]),
          ...(machine.platform === "darwin"
            ? [
                folder("sockets", layout.runDir, 0o755, owner),
                folder("upgrades", wishFiles(layout.stateDir).folder, 0o700, owner),
                folder("wishes", wishFiles(layout.stateDir).wishFolder, 0o700, owner),
              ]
            : []),
        ]
      : []),
    ...manager
      .definitions(options)
      .map(({ path: file, text, mode }) => textFile({ name: manager.name, file: machine.at(file), mode, text })),
    ...manager.registration(layout),
    record(),
  ];
}

/** The last step of all: a token that was used cannot be given back. */
function joinSteps({ machine, layout }: Place, token: string | undefined): Step[] {
  if (token === undefined) return [];
  if (machine.root !== "")
    throw new MeshError("bad_config", "an image cannot join: each machine that it becomes needs a token of its own", {
      field: "join",
    });
  return [
    {
      name: "joined the mesh",
      take: async () => {
        await joinAsService(machine, layout, token);
        return () => undefined;
      },
    },
  ];
}

async function startIfPossible(
  place: Place,
  request: InstallRequest,
  { changed, joined, notes }: { changed: boolean; joined: boolean; notes: string[] },
): Promise<LocalStatus | undefined> {
  const { layout, machine, manager } = place;
  const cannot = manager.notRunning();
  if (!joined) {
    notes.push(
      "it has not joined a mesh, so nothing was started: tiermesh-agent join TOKEN (tiermesh node add NAME makes one)",
    );
    return undefined;
  }
  if (cannot !== undefined) notes.push(`${cannot}: the agent starts with the machine`);
  const member = installedMember(machine, layout);
  const waits = member !== undefined && member.waiting !== null;
  if (waits)
    notes.push(
      `it asks to be let in: tiermesh node approve ${member.node_id}, fingerprint ${fingerprintOf(member)}; it serves from then on`,
    );
  if (cannot !== undefined || !request.start) return undefined;
  if (changed && (await manager.state(layout)).running) await manager.restart(layout);
  else await manager.start(layout);
  if (waits) return undefined;
  return waitUntilHealthy(place, { version: request.version, limitMs: START_LIMIT_MS });
}

/** Where the key lies that upgrades have to be signed by. */
export function releaseKeyFile({ configDir }: Layout): string {
  return path.join(configDir, "release.pub");
}
