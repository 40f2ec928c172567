import { LocalStatus } from "../../agent/local-control/protocol.ts";

/** What a healthy agent with nothing to do says of itself by its socket. */
export function localStatus(overrides: Partial<LocalStatus> = {}): LocalStatus {
  return LocalStatus.parse({
    node_id: "n1",
    layer: "L1",
    profile: "server",
    status: "healthy",
    status_reason: null,
    since: new Date(0).toISOString(),
    closed_by: [],
    owner: null,
    exclusive_app: null,
    user_idle_seconds: null,
    running: 0,
    queued: 0,
    allowed_slots: 1,
    slots: 1,
    limits: {},
    files: [],
    warnings: [],
    version: null,
    pid: null,
    bus_connected: null,
    ...overrides,
  });
}
