import { copyFileSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { randomBytes } from "node:crypto";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { installAgent, type Place } from "../../agent/install/install.ts";
import type { Layout } from "../../agent/install/layout.ts";
import { carryOutWish } from "../../agent/install/requested-upgrade.ts";
import { MADE_BY_US, type ServiceManager } from "../../agent/install/service-manager.ts";
import { wishFiles } from "../../agent/upgrade/files.ts";
import { Broker } from "../../cli/bus/broker.ts";
import { checkBusSettings } from "../../cli/bus/bus-settings.ts";
import { keptNkey } from "../../service/access/nkey-file.ts";
import { createLog } from "../../service/log.ts";
import { pause } from "../../service/loop.ts";
import { fileDigest, newSigningKeys, writeSignature } from "../../service/release-signature.ts";
import { FakeMachine, SMALL_PROGRAM, layoutBelow } from "./fake-machine.ts";
import { runCli } from "./mesh.ts";
import { startProc, type Proc } from "./proc.ts";
import { tempDir } from "./temp-dir.ts";

const AGENT = fileURLToPath(new URL("./versioned-agent.child.ts", import.meta.url));
/** How often the path unit of a posed machine looks at the agent's wish, milliseconds. */
const LOOK_EVERY_MS = 50;

const versionIn = (file: string) => readFileSync(file, "latin1").split("#").at(-1) ?? "";

/**
 * Several machines with an installed agent each, on a broker with permissions. The agents are real processes, the keeper and root's part of
 * an upgrade are the product's own; posed is what a test cannot have: the service manager, and the program, which is a small one of the
 * system with its version behind its end. Linux only.
 */
export interface UpgradableFleet extends AsyncDisposable {
  nodes: readonly UpgradableNode[];
  /** Programs of these versions end at once. */
  broken: Set<string>;
  /** A signed program of that version, of several pieces; its signature lies beside it. @returns its file and its SHA-256 */
  build(version: string): Promise<{ file: string; sha256: string }>;
  /** Runs `tiermesh …` as this bus's operator. */
  run(...args: string[]): ReturnType<typeof runCli>;
  operator: { url: string; nkeyFile: string };
}

export interface UpgradableNode {
  id: string;
  /** Of the program that is installed. */
  version(): string;
  /** How often its service was started. */
  starts(): number;
}

export async function startUpgradableFleet(ids: readonly string[], version: string): Promise<UpgradableFleet> {
  const folder = tempDir("tiermesh-fleet-");
  const stack = new AsyncDisposableStack();
  stack.defer(() => folder.remove());
  const keys = newSigningKeys();
  const broken = new Set<string>();
  const keyOf = (id: string) => path.join(folder.path, `${id}.nk`);
  try {
    const broker = await Broker.start(
      {
        env: process.env,
        folder: path.join(folder.path, "bus"),
        settings: checkBusSettings({ port: 0 }, "test"),
        locals: ids.map((nodeId) => ({ nodeId, layer: "L1", publicKey: keptNkey(keyOf(nodeId)).publicKey })),
        routingConfig: path.join(import.meta.dirname, "..", "..", "deploy", "routing.yaml"),
        log: createLog("test", "silent"),
        say: () => undefined,
      },
      AbortSignal.timeout(60_000),
    );
    stack.defer(() => broker.stop());
    const { url } = broker.addressOf("router");
    const build = async (wanted: string) => {
      const file = path.join(folder.path, `agent-${wanted}`);
      writeFileSync(
        file,
        Buffer.concat([readFileSync(SMALL_PROGRAM), randomBytes(600_000), Buffer.from(`#${wanted}`)]),
      );
      const sha256 = await fileDigest(file);
      const { arch, platform } = process;
      const statement = {
        product: "tiermesh-agent",
        version: wanted,
        platform,
        arch,
        bytes: statSync(file).size,
        sha256,
      };
      writeFileSync(`${file}.sig`, writeSignature({ v: 1, ...statement }, keys.privateKeyPem));
      return { file, sha256 };
    };
    const first = path.join(folder.path, "first");
    copyFileSync((await build(version)).file, first);
    const nodes = await Promise.all(
      ids.map(async (id) => {
        const layout = layoutBelow(path.join(folder.path, id));
        const env = { TIERMESH_NATS_URL: url, TIERMESH_NATS_NKEY: keyOf(id), TIERMESH_NODE_ID: id };
        const manager = serviceOf(layout, env, broken);
        const machine = posedMachine(manager);
        const place = { machine, layout, manager };
        await installAgent(
          place,
          { executable: first, version, releaseKey: keys.publicKeyPem, start: false },
          () => undefined,
        );
        stack.defer(() => manager.stop());
        await manager.start();
        const watch = watchWish(place);
        stack.defer(() => watch.stop());
        return { id, version: () => versionIn(layout.executable), starts: () => manager.starts };
      }),
    );
    const operator = { url, nkeyFile: broker.addressOf("operator").nkeyFile ?? "" };
    const compiled = path.join(folder.path, "compiled");
    const env = { TIERMESH_NATS_URL: url, TIERMESH_NATS_NKEY: operator.nkeyFile, NODE_COMPILE_CACHE: compiled };
    return {
      nodes,
      broken,
      build,
      operator,
      run: (...args) => runCli(env, ...args),
      [Symbol.asyncDispose]: () => stack.disposeAsync(),
    };
  } catch (error) {
    await stack.disposeAsync();
    throw error;
  }
}

function posedMachine(manager: ReturnType<typeof serviceOf>): FakeMachine {
  return new FakeMachine("", (file, args) => {
    if (args[0] === "--version") return `${versionIn(file)}\n`;
    if (args[0] === "print-unit") return JSON.stringify(manager.definitions());
    return file === "id" ? String(args[0] === "-u" ? process.getuid?.() : process.getgid?.()) : undefined;
  });
}

/** A service manager whose service is the agent from source, of the version that the installed program has. */
function serviceOf(layout: Layout, env: Record<string, string>, broken: ReadonlySet<string>) {
  let proc: Proc | undefined;
  let enabled = false;
  const manager = {
    starts: 0,
    name: "posed",
    missing: async () => undefined,
    notRunning: () => undefined,
    definitions: () => [{ path: path.join(layout.configDir, "unit"), text: `# ${MADE_BY_US}\n`, mode: 0o644 }],
    registration: () => [
      {
        name: "registered",
        take: async () => {
          enabled = true;
          return () => undefined;
        },
      },
    ],
    unregister: async () => undefined,
    start: async () => {
      manager.starts++;
      const version = versionIn(layout.executable);
      mkdirSync(layout.runDir, { recursive: true });
      const own = {
        ...env,
        TEST_VERSION: version,
        TIERMESH_HOME: layout.stateDir,
        TIERMESH_CACHE_DIR: layout.cacheDir,
        TIERMESH_RUN_DIR: layout.runDir,
        TIERMESH_UPGRADE_DIR: layout.upgradeDir,
        TIERMESH_RELEASE_KEY: path.join(layout.configDir, "release.pub"),
        TIERMESH_LAYER: "L1",
        TIERMESH_EMBEDDED: "off",
        TIERMESH_LOOPBACK: "true",
        TIERMESH_PROFILE: "server",
        NODE_COMPILE_CACHE: path.join(path.dirname(path.dirname(layout.stateDir)), "compiled"),
      };
      proc = broken.has(version)
        ? startProc("-e", { args: ["0"] })
        : startProc(AGENT, { args: ["agent", "run", "--json"], env: own });
    },
    stop: async () => {
      proc?.kill("SIGTERM");
      await proc?.exited;
    },
    restart: async () => {
      await manager.stop();
      await manager.start();
    },
    state: async () => ({ installed: enabled, enabled, running: true, says: "posed", pid: proc?.pid ?? null }),
    logs: () => ({ program: "true", args: [] }),
  } satisfies ServiceManager & { starts: number };
  return manager;
}

/** What the path unit does: root's part, whenever the wish has changed. */
function watchWish(place: Place): { stop(): Promise<void> } {
  const { wish } = wishFiles(place.layout.stateDir);
  let stopped = false;
  let seen = 0;
  const done = (async () => {
    while (!stopped) {
      const changed = statSync(wish, { throwIfNoEntry: false })?.mtimeMs ?? 0;
      if (changed !== seen) {
        seen = changed;
        await carryOutWish(place, () => undefined);
      }
      await pause(LOOK_EVERY_MS);
    }
  })();
  return {
    stop: async () => {
      stopped = true;
      await done;
    },
  };
}
