import { readFileSync, statSync } from "node:fs";
import path from "node:path";
import type { z } from "zod";
import { MeshError, type Layer } from "../../bus-schemas/index.ts";
import type { Environment } from "../../service/config.ts";
import { parseYamlConfig, type YamlProblem } from "../../service/yaml-config.ts";
import { AgentFile, CompanyLimits, DEFAULTS, profileOf, type Limits, type Profile } from "./settings.ts";
import type { RuntimeGpus } from "../gpu-health/runtime-gpus.ts";
import type { ManagedRuntime } from "../supervision/settings.ts";
import type { SlotSettings } from "./slots.ts";
import { loosened, strictest, type EffectiveLimits } from "./strictest.ts";

/** No such file needs to be larger, bytes. */
const MAX_FILE_BYTES = 100_000;

/** What an agent's configuration says of its manners. */
export interface MannersConfig {
  layer: Layer;
  stateDir: string;
  /** Set for an egress agent. */
  providers?: string | undefined;
  profile?: Profile | undefined;
  jurisdiction?: string | undefined;
  slots?: SlotSettings | undefined;
  agentFile?: string | undefined;
  agentPolicy?: string | undefined;
}

export interface LoadedManners {
  profile: Profile;
  /** Where the machine stands; null = nobody says it. */
  jurisdiction: string | null;
  limits: EffectiveLimits;
  slots: SlotSettings;
  /** Runtimes that this agent keeps running, by name. */
  managedRuntimes: Readonly<Record<string, ManagedRuntime>>;
  runtimeGpus: RuntimeGpus;
  /** The files that were read. */
  files: string[];
  /** What is wrong without stopping anything, for people: limits that the machine's own file tries to loosen, a company's file that others can change. */
  warnings: string[];
}

/** Where a company's limits lie on every machine, whatever the agent's environment says. */
export function companyFile(env: Environment, platform: NodeJS.Platform = process.platform): string {
  if (platform === "win32")
    return path.win32.join(env["ProgramData"] ?? String.raw`C:\ProgramData`, "tiermesh", "agent-policy.yaml");
  const folder = platform === "darwin" ? "/Library/Application Support/tiermesh" : "/etc/tiermesh";
  return path.posix.join(folder, "agent-policy.yaml");
}

/** The machine's own file: an egress agent beside another has one of its own. */
export function ownFile({ agentFile, providers, stateDir }: MannersConfig): string {
  return agentFile ?? path.join(stateDir, providers === undefined ? "agent.yaml" : "egress.yaml");
}

/**
 * The manners of this agent: agent.yaml over the profile's defaults, and no limit looser than the company's.
 * @param company {@link companyFile}
 * @throws MeshError `bad_config` with file, line and field; also for a company's file that is there and cannot be read
 */
export function loadManners(config: MannersConfig, company: string): LoadedManners {
  const own = ownFile(config);
  const said = read(own, AgentFile, config.agentFile !== undefined, checkBack) ?? {};
  const {
    profile: written,
    jurisdiction = null,
    slots: all,
    runtime_slots: bySaid = {},
    managed_runtimes: managedRuntimes = {},
    runtime_gpus: runtimeGpus = {},
    ...limits
  } = said;
  if (config.providers !== undefined && Object.keys(managedRuntimes).length > 0)
    throw new MeshError("bad_config", `${own}: managed_runtimes: an egress agent serves nothing of this machine`, {
      field: "managed_runtimes",
    });
  const profile = config.profile ?? written ?? profileOf(config.layer, config.providers !== undefined);
  const named = config.agentPolicy;
  const companies = [
    { file: company, limits: read(company, CompanyLimits, false, checkBack) },
    ...(named === undefined || named === company
      ? []
      : [{ file: named, limits: read(named, CompanyLimits, true, checkBack) }]),
  ].flatMap((each) => (each.limits === undefined ? [] : [{ file: each.file, limits: each.limits }]));
  return {
    profile,
    jurisdiction: config.jurisdiction ?? jurisdiction,
    limits: strictest({ ...DEFAULTS[profile], ...defined(limits) }, ...companies.map((each) => each.limits)),
    slots: {
      all: config.slots?.all ?? all,
      by: new Map([...Object.entries(bySaid), ...(config.slots?.by ?? [])]),
    },
    managedRuntimes,
    runtimeGpus,
    files: [...(Object.keys(said).length > 0 ? [own] : []), ...companies.map(({ file }) => file)],
    warnings: companies.flatMap((each) => [
      ...loosened(limits, each.limits).map(
        (field) => `${own}: ${field} is looser than the company's ${each.file} allows, and is ignored`,
      ),
      ...changeable(each.file),
    ]),
  };
}

/** The profile that the machine's own file names. @throws MeshError `bad_config` with file, line and field */
export function profileIn(file: string): Profile | undefined {
  return read(file, AgentFile, false, checkBack)?.profile;
}

function read<T extends z.ZodType<CompanyLimits>>(
  file: string,
  schema: T,
  must: boolean,
  check: (value: CompanyLimits) => YamlProblem | undefined,
): z.output<T> | undefined {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (cause) {
    if (!must && (cause as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw new MeshError("bad_config", `${file}: cannot be read (${(cause as NodeJS.ErrnoException).code ?? "?"})`, {
      cause,
    });
  }
  return parseYamlConfig(text, { schema, name: file, maxBytes: MAX_FILE_BYTES, check });
}

function checkBack({
  max_other_cpu_percent: max,
  other_cpu_back_percent: back,
}: CompanyLimits): YamlProblem | undefined {
  if (max === undefined || max === null || back === undefined || back === null || back <= max) return undefined;
  return { path: ["other_cpu_back_percent"], message: "must not be above max_other_cpu_percent" };
}

/** Without the keys that are there and say nothing. */
function defined(limits: CompanyLimits): Partial<Limits> {
  return Object.fromEntries(Object.entries(limits).filter(([, value]) => value !== undefined));
}

/** A file that anybody may change binds nobody. Windows has no such bits; there its folder's rights count. */
function changeable(file: string): string[] {
  if (process.platform === "win32") return [];
  const { mode, uid } = statSync(file);
  return uid === 0 && (mode & 0o022) === 0
    ? []
    : [`${file}: others than root can change it (chown root, chmod 644); what it says counts all the same`];
}
