import type { NativeCall } from "./nvml-calls.ts";

/**
 * Xid errors as NVML tells them, by the documented functions of nvml.h (docs.nvidia.com/deploy/nvml-api, "Event Handling Methods"): Linux
 * only, and for every user who may use the card.
 */

/** nvmlReturn_t. */
const SUCCESS = 0;
/** nvmlEventTypeXidCriticalError. */
const XID_EVENTS = 0x8n;
/**
 * sizeof(nvmlEventData_t): nvmlDevice_t device; unsigned long long eventType, eventData; unsigned gpuInstanceId, computeInstanceId. Of an
 * Xid eventData is its number.
 */
const EVENT_BYTES = 32;
const TYPE_OFFSET = 8;
const DATA_OFFSET = 16;
/** Events taken at one look. */
const MAX_EVENTS = 64;

/** An Xid error, and the handle of its device. */
export interface XidEvent {
  device: bigint;
  xid: number;
}

/** The events of all devices that were registered, in one set of NVML's. */
export class XidEvents {
  readonly #call: NativeCall;
  readonly #registered = new Set<bigint>();
  #set: bigint | undefined;
  /** This library or this system has none. */
  #none = false;

  constructor(call: NativeCall) {
    this.#call = call;
  }

  /** From now on. A device that knows no such events is left out. */
  async register(device: bigint): Promise<void> {
    if (this.#none || this.#registered.has(device)) return;
    const set = (this.#set ??= await this.#create());
    if (set === undefined) return;
    this.#registered.add(device);
    await this.#call("nvmlDeviceRegisterEvents", device, XID_EVENTS, set);
  }

  /** What has happened since the last time; waits for nothing. */
  async take(): Promise<XidEvent[]> {
    const events: XidEvent[] = [];
    while (this.#set !== undefined && events.length < MAX_EVENTS) {
      const data = Buffer.alloc(EVENT_BYTES);
      // Any other answer than success: there is none (timeout), or the card that had one is lost.
      if ((await this.#call("nvmlEventSetWait_v2", this.#set, data, 0)) !== SUCCESS) break;
      if (data.readBigUInt64LE(TYPE_OFFSET) !== XID_EVENTS) continue;
      events.push({ device: data.readBigUInt64LE(0), xid: Number(data.readBigUInt64LE(DATA_OFFSET)) });
    }
    return events;
  }

  async free(): Promise<void> {
    const set = this.#set;
    this.#set = undefined;
    this.#registered.clear();
    if (set !== undefined) await this.#call("nvmlEventSetFree", set);
  }

  async #create(): Promise<bigint | undefined> {
    const set = Buffer.alloc(8);
    if ((await this.#call("nvmlEventSetCreate", set)) === SUCCESS) return set.readBigUInt64LE();
    this.#none = true;
    return undefined;
  }
}
