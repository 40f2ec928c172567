/**
 * Bits of nvml.h (nvmlClocksEventReason…, before driver 535 nvmlClocksThrottleReason…) that mean "slower than it was asked to be",
 * by the names that nvidia-smi gives them. Left out: idle (0x1), and clocks that an administrator or a display chose (0x2, 0x100).
 */
const THROTTLE_BITS = [
  [0x4n, "sw_power_cap"],
  [0x8n, "hw_slowdown"],
  [0x10n, "sync_boost"],
  [0x20n, "sw_thermal_slowdown"],
  [0x40n, "hw_thermal_slowdown"],
  [0x80n, "hw_power_brake_slowdown"],
] as const;

export const THROTTLE_REASONS = THROTTLE_BITS.map(([, reason]) => reason);

/** The reasons in a mask of NVML; [] = runs unhindered. */
export function throttleReasons(mask: bigint): string[] {
  return THROTTLE_BITS.filter(([bit]) => (mask & bit) !== 0n).map(([, reason]) => reason);
}
