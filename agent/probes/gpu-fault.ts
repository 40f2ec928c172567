import { z } from "zod";
import { Count } from "../../bus-schemas/units.ts";

/** An error that a GPU's driver told. */
export const GpuFault = z.object({
  /** Each fault is told again and again, by the same id: of the kernel's log `kmsg-` and its sequence number. */
  id: z.string().min(1).max(60),
  pci_address: z.string().max(40).nullable(),
  uuid: z.string().max(100).nullable(),
  /** NVIDIA's number of the error. */
  xid: Count,
});
export type GpuFault = z.infer<typeof GpuFault>;

/** Faults that are told at a time, the newest ones. */
export const MAX_FAULTS = 64;
