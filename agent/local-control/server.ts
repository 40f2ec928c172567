import { chmodSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { MeshError, parseOrThrow, type Layer } from "../../bus-schemas/index.ts";
import type { Bus } from "../../service/bus.ts";
import type { Environment } from "../../service/config.ts";
import type { EventPublisher } from "../../service/events.ts";
import type { Log } from "../../service/log.ts";
import { VERSION } from "../../service/version.ts";
import type { LoadedManners } from "../manners/load.ts";
import type { Manners } from "../manners/start.ts";
import type { RuntimeDesk } from "../runtime-desk.ts";
import type { Stance } from "../stance.ts";
import { localAddress } from "./address.ts";
import { askAgent } from "./ask.ts";
import { LocalRequest, type LocalReply, type LocalStatus } from "./protocol.ts";

/** A request is one short line. */
const MAX_REQUEST_BYTES = 4096;
/** Who connects and says nothing is shown out, milliseconds. */
const SILENCE_LIMIT_MS = 2000;
const MAX_CONNECTIONS = 16;

export interface LocalControlParts {
  env: Environment;
  nodeDir: string;
  nodeId: string;
  layer: Layer;
  loaded: Pick<LoadedManners, "profile" | "limits" | "files" | "warnings">;
  manners: Pick<Manners, "owner" | "presence"> & {
    watch: Pick<Manners["watch"], "look" | "verdict" | "app" | "userIdleSeconds">;
  };
  stance: Pick<Stance, "status">;
  desk: Pick<RuntimeDesk, "load" | "runtimes">;
  bus: Pick<Bus, "connected">;
  events: Pick<EventPublisher, "record">;
  log: Log;
}

export interface LocalControl {
  /** Where it listens; undefined = nowhere. */
  path: string | undefined;
  close(): Promise<void>;
}

/**
 * Serves whoever sits at this machine, without the bus: they can always take it back, and only ever tighten. What they ask for and
 * take back again is their own word; no limit of the file or the company's can be changed here. Never throws: an agent that cannot
 * listen works all the same.
 */
export async function serveLocalControl(parts: LocalControlParts): Promise<LocalControl> {
  const { env, log, nodeDir, nodeId } = parts;
  const { path, shared } = localAddress(env, { nodeDir, nodeId });
  const server = createServer({ allowHalfOpen: true }, (socket) => serve(parts, socket));
  server.maxConnections = MAX_CONNECTIONS;
  try {
    if (process.platform !== "win32") await clear(path);
    await listen(server, path, shared);
    // Its folder keeps others out until here; a shared one is for everybody.
    if (process.platform !== "win32") chmodSync(path, shared ? 0o666 : 0o600);
  } catch (error) {
    log.warn({ err: error }, `nobody can pause this agent from here: ${path} cannot be listened at`);
    server.close();
    return { path: undefined, close: () => Promise.resolve() };
  }
  return { path, close: () => new Promise((resolve) => server.close(() => resolve())) };
}

/** Removes what a killed agent left. @throws MeshError `conflict` when one answers there */
async function clear(path: string): Promise<void> {
  const there = await askAgent(path, { command: "status" }).catch((error: unknown) => MeshError.from(error));
  if (there !== undefined) throw new MeshError("conflict", "another agent of this folder runs");
  rmSync(path, { force: true });
}

function listen(server: Server, path: string, shared: boolean): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ path, readableAll: shared, writableAll: shared }, () => {
      server.off("error", reject);
      // Later ones concern one connection that could not be taken.
      server.on("error", () => undefined);
      resolve();
    });
  });
}

function serve(parts: LocalControlParts, socket: Socket): void {
  let text = "";
  let done = false;
  const answer = (reply: LocalReply) => {
    done = true;
    socket.end(`${JSON.stringify(reply)}\n`);
  };
  socket.setEncoding("utf8");
  socket.setTimeout(SILENCE_LIMIT_MS, () => socket.destroy());
  socket.on("error", () => socket.destroy());
  socket.on("end", () => {
    if (!done) socket.destroy();
  });
  socket.on("data", (piece: string) => {
    if (done) return;
    text += piece;
    const end = text.indexOf("\n");
    try {
      if (text.length > MAX_REQUEST_BYTES) throw new MeshError("bad_request", "a request is one line of at most 4 KiB");
      if (end >= 0) answer({ ok: true, agent: carryOut(parts, parse(text.slice(0, end))) });
    } catch (cause) {
      answer({ ok: false, error: MeshError.from(cause).toWire() });
    }
  });
}

/** @throws MeshError `bad_request` naming the field */
function parse(line: string): LocalRequest {
  let body: unknown;
  try {
    body = JSON.parse(line);
  } catch (cause) {
    throw new MeshError("bad_request", "a request is one line of JSON", { cause });
  }
  return parseOrThrow(LocalRequest, body);
}

function carryOut(parts: LocalControlParts, request: LocalRequest): LocalStatus {
  const { events, log, manners, nodeId } = parts;
  const { owner, presence, watch } = manners;
  if (request.command === "status") return statusOf(parts);
  if (request.command === "presence") {
    presence.seen(request.idle_seconds);
    watch.look();
    return statusOf(parts);
  }
  const before = owner.current?.word;
  if (request.command === "resume") owner.resume();
  else owner.say(request.command, request.command === "pause" ? request.minutes : undefined);
  // From here the heartbeat is sent and what runs is handed back, before anything that may fail.
  watch.look();
  try {
    // Who says the same thing all day fills no record.
    if (owner.current?.word !== before)
      events.record("node_controlled", { node_id: nodeId, command: `owner-${request.command}`, reason: null });
  } catch (error) {
    log.error({ err: error }, "what the owner said could not be recorded");
  }
  return statusOf(parts);
}

function statusOf({ bus, desk, layer, loaded, manners, nodeId, stance }: LocalControlParts): LocalStatus {
  const { profile, limits, files, warnings } = loaded;
  const { owner, watch } = manners;
  const { status, reason } = stance.status;
  const { slots, running, queued } = desk.load();
  const said = owner.current;
  const iso = (unixMs: number) => new Date(unixMs).toISOString();
  return {
    node_id: nodeId,
    layer,
    profile,
    status,
    status_reason: reason,
    since: iso(Date.now() - (performance.now() - watch.verdict.sinceMs)),
    closed_by: [...watch.verdict.state.closed],
    owner:
      said === undefined ? null : { word: said.word, until: said.untilUnixMs === null ? null : iso(said.untilUnixMs) },
    exclusive_app: watch.app ?? null,
    user_idle_seconds: watch.userIdleSeconds,
    running,
    queued,
    allowed_slots: status === "healthy" ? slots : 0,
    slots: desk.runtimes.reduce((sum, record) => sum + (record.healthy && !record.diagnostic ? record.slots : 0), 0),
    limits: { ...limits },
    files,
    warnings,
    version: VERSION,
    pid: process.pid,
    bus_connected: bus.connected(),
  };
}
