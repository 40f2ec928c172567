import type { Gpu, GpuName } from "../../bus-schemas/index.ts";

/** What events and the file say of a GPU. */
export function nameOf({ name, index, uuid, pci_address }: GpuName): GpuName {
  return { name, index, uuid, pci_address };
}

/**
 * Keys of the GPUs of one look, by which they are known again at the next: the place on the bus first, because a card that sleeps, and
 * one that is lost, tells no more than that, and numbers move up when a card is gone. Two chips of one card share a place.
 */
export function keysOf(gpus: readonly Gpu[]): string[] {
  const counts = new Map<string, number>();
  return gpus.map(({ index, name, pci_address: place, uuid, vendor }) => {
    const base = place ?? uuid ?? `${vendor ?? "gpu"}-${index ?? name}`;
    const count = counts.get(base) ?? 0;
    counts.set(base, count + 1);
    return count === 0 ? base : `${base}#${count}`;
  });
}

/** Whether an operator means this GPU: by its index, UUID or place on the bus. */
export function isMeant({ index, uuid, pci_address: place }: GpuName, said: string): boolean {
  const wanted = said.toLowerCase();
  return wanted === String(index) || wanted === uuid?.toLowerCase() || wanted === place?.toLowerCase();
}

/** `GPU 1 (H200)` */
export function shown({ index, name }: GpuName): string {
  return index === null ? name : `GPU ${index} (${name})`;
}
