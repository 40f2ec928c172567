import { auditLog } from "./audit-log.ts";
import { bus, natsServer } from "./bus.ts";
import { busAuthority } from "./certificate.ts";
import type { Check } from "./check.ts";
import { hardware } from "./hardware.ts";
import { disk, machine, node } from "./machine.ts";
import { manners } from "./manners.ts";
import { auditor, models, router } from "./mesh.ts";
import { storage } from "./storage.ts";

/** Everything `tiermesh doctor` looks at, from the ground up. */
export const CHECKS: readonly Check[] = [
  node,
  machine,
  hardware,
  manners,
  disk,
  natsServer,
  busAuthority,
  bus,
  storage,
  auditLog,
  router,
  models,
  auditor,
];
