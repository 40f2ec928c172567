import type { Msg } from "@nats-io/nats-core";
import { z } from "zod";
import {
  API_ADVISORIES,
  MeshError,
  Release,
  releaseKey,
  versionOfKey,
  type EventData,
} from "../../bus-schemas/index.ts";
import type { Bus } from "../../service/bus.ts";
import type { EventPublisher } from "../../service/events.ts";
import { readBody } from "../../service/messages.ts";
import type { Rejections } from "../../service/rejections.ts";
import { ApiAudit } from "./stream-changes.ts";

/** What a purge of a stream was asked with, JSON in a text. */
const PurgeRequest = z.object({ filter: z.string().max(500).optional() });

/**
 * Puts on record who brings programs for the fleet, and who takes them away: as the operator's program says it, and as the broker tells
 * of the purge. Several keepers give an event one id, so the stream has it once.
 */
export function recordReleases(parts: { bus: Bus; events: EventPublisher; rejections: Rejections }): void {
  const { bus, events, rejections } = parts;
  const hear = (subject: string, read: (msg: Msg) => Change | undefined) =>
    bus.listen(subject, (msg) => {
      try {
        const change = read(msg);
        if (change !== undefined) events.record("release_changed", change.data, { id: change.id });
      } catch (error) {
        rejections.add("release", MeshError.from(error, "bad_request", "no release"));
      }
    });
  hear(bus.subjects.releases, readAddition);
  hear(API_ADVISORIES, (msg) => readRemoval(msg, bus));
}

interface Change {
  id: string;
  data: EventData<"release_changed">;
}

function readAddition(msg: Msg): Change {
  const { version, files, by, added_unix_ms: addedMs } = readBody(msg, Release);
  const programs = files.map(({ system, sha256 }) => ({ system, sha256 }));
  const data = { version, action: "added" as const, by, files: programs };
  return { id: `release-${releaseKey(version)}-${addedMs}`, data };
}

function readRemoval(msg: Msg, bus: Bus): Change | undefined {
  const purge = `$JS.API.STREAM.PURGE.${bus.subjects.releaseStream}`;
  // Almost all calls are about something else: they are not worth parsing.
  if (!Buffer.from(msg.data).includes(purge)) return undefined;
  const { id, subject, client, request } = readBody(msg, ApiAudit);
  if (subject !== purge) return undefined;
  const { filter } = PurgeRequest.parse(request === undefined || request === "" ? {} : JSON.parse(request));
  const begin = bus.subjects.releases.slice(0, -1);
  // Pieces that no release has any more go by themselves.
  if (filter !== undefined && !filter.startsWith(begin)) return undefined;
  const version = filter === undefined ? null : versionOfKey(filter.slice(begin.length));
  const by = (client.nkey ?? client.user ?? null)?.slice(0, 200) ?? null;
  return { id: `advisory-${id}`, data: { version, action: "removed", by, files: [] } };
}
