import { Gpu, MeshError, type GpuName, type Hardware } from "../../bus-schemas/index.ts";
import type { Log } from "../../service/log.ts";
import type { GpuFault } from "../probes/gpu-fault.ts";
import { withoutMoving } from "../probes/hardware.ts";
import { isMeant, keysOf, nameOf, shown } from "./gpu-names.ts";
import type { SickFile, SickGpu } from "./sick-file.ts";
import { xidVerdict } from "./xid-verdict.ts";

/** A card that is back must answer for so long without a fault before it is used again, milliseconds. */
const QUIET_MS = 60_000;
/** A driver that says nothing of a card for so long hangs, milliseconds: the slowest probe looks twice a minute. */
const SILENT_MS = 180_000;

/** What has become of a card. */
export type GpuNews =
  | { type: "sick"; gpu: GpuName; cause: SickGpu["cause"]; reason: string; xid: number | null }
  | { type: "well"; gpu: GpuName; by: "operator" | "returned"; reason: string | null };

/** What the probes say at one look. */
export interface GpuSight {
  hardware: Hardware;
  faults: readonly GpuFault[];
  /** Every probe has looked: what is not in the picture is not there. */
  complete: boolean;
  /** The probes themselves do not run: then their silence says nothing of a card. */
  blind: boolean;
}

export interface GpuHealthParts {
  file: SickFile;
  onNews: (news: GpuNews) => void;
  log: Log;
  /** Monotonic; stands still while the machine sleeps. Milliseconds. */
  nowMs: () => number;
}

interface Seen {
  gpu: Gpu;
  /** When its reading was last a new one. */
  freshAtMs: number;
  /** Since when it is there without a break. */
  thereSinceMs: number;
}

/**
 * Which GPUs are not to be used: those with an Xid error that they do not get over, those that are gone, and those of which the driver
 * says nothing any more. A card that is back and quiet is well by itself, and one with an Xid error only after it was gone (its reset
 * or the machine's) or by an operator's word. Survives a restart of the agent.
 */
export class GpuHealth {
  readonly #parts: GpuHealthParts;
  readonly #seen = new Map<string, Seen>();
  readonly #handled = new Set<string>();

  constructor(parts: GpuHealthParts) {
    this.#parts = parts;
  }

  /** Cards that are not to be used. */
  get sick(): readonly SickGpu[] {
    return [...this.#parts.file.sick.values()];
  }

  look({ blind, complete, faults, hardware }: GpuSight): void {
    if (!complete) return;
    const nowMs = this.#parts.nowMs();
    const keys = keysOf(hardware.gpus);
    for (const [i, gpu] of hardware.gpus.entries()) this.#see(keys[i] ?? "", gpu, nowMs);
    for (const [key, { gpu }] of this.#seen) if (!keys.includes(key)) this.#onGone(key, gpu);
    this.#hear(faults);
    for (const key of keys) this.#judge(key, nowMs, blind);
  }

  /**
   * An operator's word: the card is used again.
   * @param named index, UUID or place on the bus; undefined = all that are sick
   * @throws MeshError `not_found` when no sick card is meant
   */
  declareWell(named: string | undefined, reason: string | null): void {
    const meant = [...this.#parts.file.sick].filter(([, { gpu }]) => named === undefined || isMeant(gpu, named));
    if (meant.length === 0) {
      const names = this.sick.map(({ gpu }) => `${shown(gpu)} ${gpu.uuid ?? gpu.pci_address ?? ""}`.trim()).join(", ");
      throw new MeshError("not_found", `no such GPU is sick here; sick: ${names || "none"}`, { field: "gpu" });
    }
    for (const [key] of meant) {
      // One that is still gone is forgotten, or it would be sick again at the next look.
      if (this.#parts.file.sick.get(key)?.away === true) this.#seen.delete(key);
      const seen = this.#seen.get(key);
      if (seen !== undefined) seen.freshAtMs = this.#parts.nowMs();
      this.#onWell(key, "operator", reason);
    }
  }

  /** The hardware with what is sick in it; a card that is gone is in it as it last was, without what moves. */
  marked(hardware: Hardware): Hardware {
    const { sick } = this.#parts.file;
    if (sick.size === 0) return hardware;
    const keys = keysOf(hardware.gpus);
    const gpus = hardware.gpus.map((gpu, i) => {
      const reason = sick.get(keys[i] ?? "")?.reason;
      return reason === undefined ? gpu : { ...gpu, sick: reason };
    });
    for (const [key, { gpu, reason }] of sick) {
      if (keys.includes(key)) continue;
      // It was gone already when the agent started.
      const last = this.#seen.get(key)?.gpu ?? Gpu.parse(gpu);
      for (const still of withoutMoving({ gpus: [last] }).gpus) gpus.push({ ...still, sick: reason });
    }
    return { ...hardware, gpus: gpus.slice(0, 64) };
  }

  #see(key: string, gpu: Gpu, nowMs: number): void {
    const { file } = this.#parts;
    const before = this.#seen.get(key);
    const back = before === undefined || file.sick.get(key)?.away === true;
    const fresh = gpu.sampled_at === null || gpu.sampled_at !== before?.gpu.sampled_at;
    this.#seen.set(key, {
      gpu,
      freshAtMs: fresh ? nowMs : (before?.freshAtMs ?? nowMs),
      thereSinceMs: back ? nowMs : before.thereSinceMs,
    });
    const sick = file.sick.get(key);
    if (sick?.away !== true) return;
    file.set(key, { ...sick, away: false, returned: true });
  }

  #onGone(key: string, gpu: Gpu): void {
    const { file } = this.#parts;
    const sick = file.sick.get(key);
    if (sick === undefined) this.#onSick(key, { gpu: nameOf(gpu), cause: "gone", reason: "is gone", away: true });
    else if (!sick.away) file.set(key, { ...sick, away: true });
  }

  /** Faults are told again and again. */
  #hear(faults: readonly GpuFault[]): void {
    const { file } = this.#parts;
    const ids = new Set(faults.map(({ id }) => id));
    for (const id of this.#handled) if (!ids.has(id)) this.#handled.delete(id);
    for (const fault of faults) {
      if (this.#handled.has(fault.id) || file.isHandled(fault.id)) continue;
      this.#handled.add(fault.id);
      this.#onFault(fault);
    }
    file.handled(ids);
  }

  #onFault(fault: GpuFault): void {
    const { file } = this.#parts;
    const verdict = xidVerdict(fault.xid);
    const [key, seen] = [...this.#seen].find(([, { gpu }]) => isOf(fault, gpu)) ?? [];
    if (verdict === undefined || key === undefined || seen === undefined) return;
    const away = file.sick.get(key)?.away === true;
    this.#onSick(key, { gpu: nameOf(seen.gpu), cause: "xid", reason: verdict, away }, fault.xid);
  }

  #judge(key: string, nowMs: number, blind: boolean): void {
    const seen = this.#seen.get(key);
    const sick = this.#parts.file.sick.get(key);
    if (seen === undefined) return;
    const silentMs = nowMs - seen.freshAtMs;
    if (sick === undefined) {
      if (silentMs < SILENT_MS || blind) return;
      const reason = `its driver has said nothing of it for ${SILENT_MS / 60_000} minutes`;
      return this.#onSick(key, { gpu: nameOf(seen.gpu), cause: "silent", reason, away: false });
    }
    // One that was silent is back with its first new reading.
    if (sick.cause === "silent" && !sick.returned && silentMs < SILENT_MS) {
      seen.thereSinceMs = nowMs;
      return this.#parts.file.set(key, { ...sick, returned: true });
    }
    if (!sick.returned || silentMs >= SILENT_MS || nowMs - seen.thereSinceMs < QUIET_MS) return;
    this.#onWell(key, "returned", null);
  }

  #onSick(key: string, sick: Omit<SickGpu, "returned">, xid: number | null = null): void {
    const { file, log, onNews } = this.#parts;
    const known = file.sick.get(key);
    file.set(key, { ...sick, returned: false });
    if (known?.reason === sick.reason) return;
    log.error({ gpu: sick.gpu, xid }, `${shown(sick.gpu)} is sick: ${sick.reason}`);
    onNews({ type: "sick", gpu: sick.gpu, cause: sick.cause, reason: sick.reason, xid });
  }

  #onWell(key: string, by: "operator" | "returned", reason: string | null): void {
    const { file, log, onNews } = this.#parts;
    const known = file.sick.get(key);
    if (known === undefined) return;
    file.delete(key);
    log.info({ gpu: known.gpu, by }, `${shown(known.gpu)} is used again`);
    onNews({ type: "well", gpu: known.gpu, by, reason });
  }
}

function isOf({ pci_address: place, uuid }: GpuFault, gpu: Gpu): boolean {
  if (uuid !== null && gpu.uuid !== null) return uuid === gpu.uuid;
  return place !== null && place === gpu.pci_address;
}
