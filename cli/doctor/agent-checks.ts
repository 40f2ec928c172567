import { existsSync } from "node:fs";
import { asMember } from "../../agent/membership.ts";
import { agentConfig } from "../../agent/config.ts";
import { askInstalled } from "../../agent/install/healthy.ts";
import { readRecord } from "../../agent/install/record.ts";
import { builtAtMs } from "../../agent/single-executable-build.ts";
import { MeshError } from "../../bus-schemas/index.ts";
import { connectBus } from "../../service/bus.ts";
import { busAddressOf } from "../../service/config.ts";
import { createLog } from "../../service/log.ts";
import { cacheDir, stateDir } from "../../service/paths.ts";
import { placeOf } from "../agent/place.ts";
import { busAuthority } from "./certificate.ts";
import type { Check, Finding } from "./check.ts";
import { hardware } from "./hardware.ts";
import { disk, machine } from "./machine.ts";
import { manners } from "./manners.ts";
import { providers } from "./providers.ts";

const quiet = createLog("doctor", "silent");
const BUS_LIMIT_MS = 4000;

/** Is it installed as it should be, and does it run? */
const service: Check = {
  name: "service",
  check: async () => {
    const place = placeOf();
    const { layout, manager, machine: here } = place;
    const record = readRecord(here, layout);
    const state = await manager.state(layout);
    if (!state.installed)
      return existsSync(layout.executable) && record !== undefined
        ? { level: "fail", says: "its definition is gone", todo: "sudo tiermesh-agent install puts it back" }
        : { level: "warn", says: "not installed", todo: "sudo tiermesh-agent install --join TOKEN" };
    if (!existsSync(layout.executable))
      return { level: "fail", says: `${layout.executable} is gone`, todo: "run the downloaded file again: install" };
    if (record?.upgrading_from !== undefined && record.upgrading_from !== null)
      return {
        level: "fail",
        says: `an upgrade from ${record.upgrading_from} was cut off`,
        todo: "sudo tiermesh-agent upgrade --rollback, or the same upgrade again",
      };
    const says = `${manager.name}: ${state.says}`;
    if (!state.running) return { level: "fail", says, todo: "tiermesh-agent logs says why; `install` starts it" };
    const agent = await askInstalled(here, layout);
    if (agent === undefined)
      return { level: "fail", says: `${says}, but the agent does not answer`, todo: "tiermesh-agent logs says why" };
    return agent.bus_connected === false
      ? { level: "fail", says: `${says}, without a bus`, todo: "see `bus` below" }
      : { level: "ok", says: `${says}, version ${agent.version ?? "unknown"}, ${agent.status}` };
  },
};

/** Certificates and deadlines are judged by this machine's clock. */
const clock: Check = {
  name: "clock",
  check: async () => {
    const { machine: here } = placeOf();
    const says = new Date().toISOString();
    const built = builtAtMs();
    if (built !== undefined && Date.now() < built)
      return {
        level: "fail",
        says: `${says}, which is before this program was made`,
        todo: "timedatectl set-ntp true",
      };
    if (here.platform !== "linux") return { level: "ok", says };
    const { code, stdout } = await here.run("timedatectl", ["show", "--property=NTPSynchronized", "--value"]);
    return code === 0 && stdout.trim() === "no"
      ? { level: "warn", says: `${says}, not synchronised`, todo: "timedatectl set-ntp true" }
      : { level: "ok", says };
  },
};

/** As the node checks its bus. */
const memberAuthority: Check = {
  name: busAuthority.name,
  check: (env) => busAuthority.check({ ...asMember(env, stateDir({ env })) }),
};

/** The bus, as this node: its address, its certificate, and whether the node is known there. */
const memberBus: Check = {
  name: "bus",
  check: async (env) => {
    const dirs = { stateDir: stateDir({ env }), cacheDir: cacheDir({ env }) };
    const member = asMember(env, dirs.stateDir);
    if ((member["TIERMESH_NATS_URL"] ?? "") === "")
      return {
        level: "fail",
        says: "this machine has joined no mesh, or its membership may be read by root alone",
        todo: "sudo tiermesh-agent join TOKEN (tiermesh node add NAME makes one)",
      };
    const config = agentConfig(member, dirs);
    try {
      const bus = await connectBus("doctor", busAddressOf(config), quiet, { timeoutMs: BUS_LIMIT_MS });
      await bus.nc.close();
      return { level: "ok", says: `${config.nodeId} is known at ${config.natsUrl}` };
    } catch (error) {
      return judge(MeshError.from(error), config.nodeId);
    }
  },
};

function judge({ code, message }: MeshError, node: string): Finding {
  const again = `tiermesh node add ${node} --replace there, then sudo tiermesh-agent join TOKEN here`;
  const todo =
    code === "unauthorized"
      ? `the node was revoked or replaced: ${again}`
      : code === "bad_config"
        ? `if the bus has a new certificate or another address: ${again}`
        : `look at the network and at the bus; if it has moved: ${again}`;
  return { level: "fail", says: message, todo };
}

/** Everything `tiermesh-agent doctor` looks at. */
export const AGENT_CHECKS: readonly Check[] = [
  machine,
  clock,
  hardware,
  manners,
  disk,
  providers,
  service,
  memberAuthority,
  memberBus,
];
