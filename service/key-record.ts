import type { EventData } from "../bus-schemas/index.ts";
import { keyFingerprint } from "./access/fingerprint.ts";
import type { EventPublisher } from "./events.ts";
import type { Log } from "./log.ts";

/** A new key's public half. */
interface NewKey {
  kid: string;
  public_key: string;
}

/** Records that this process has a new key. The key counts even when that cannot be kept. */
export function recordKey(
  { events, log }: { events: Pick<EventPublisher, "record">; log: Log },
  whose: Pick<EventData<"key_changed">, "role" | "node_id" | "router_id">,
  { kid, public_key: publicKey }: NewKey,
  previous?: Pick<NewKey, "kid">,
): void {
  const key = { key_id: kid, fingerprint: keyFingerprint(publicKey), previous_key_id: previous?.kid ?? null };
  try {
    events.record("key_changed", { ...whose, ...key });
  } catch (error) {
    log.warn({ err: error }, "a new key was not recorded");
  }
}
