import { Svcm, type Service } from "@nats-io/services";
import type { Bus } from "./bus.ts";
import { VERSION } from "./version.ts";

export interface MicroEndpoint {
  name: string;
  /** The subject this endpoint really listens on. */
  subject: string;
  /** Queue group of its subscribers. */
  queue?: string;
}

/**
 * Announces this process as a NATS micro service, so that `nats micro ls`, `info` and `stats` find it. The work itself
 * is done by the process's own subscriptions: the announcement's only endpoint answers `ping` on a subject of its own,
 * and the working subjects are named in the metadata.
 */
export async function announceService(bus: Bus, process: string, description: string, endpoints: readonly MicroEndpoint[], metadata: Record<string, string> = {}): Promise<Service> {
  // The services package was built against an earlier core whose connection type differs in name only.
  const service = await new Svcm(bus.nc as never).add({
    name: `tiermesh-${process}`,
    version: VERSION,
    description,
    metadata: { ...metadata, ...Object.fromEntries(endpoints.map(({ name, subject }) => [`subject.${name}`, subject])) },
  });
  return service;
}
