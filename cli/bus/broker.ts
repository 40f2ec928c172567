import { basename } from "node:path";
import { MeshError } from "../../bus-schemas/index.ts";
import { forgetFormerKey, keptStorageKey } from "../../service/bus-server/index.ts";
import { connectBus, type Bus, type BusAddress } from "../../service/bus.ts";
import { EventPublisher } from "../../service/events.ts";
import { hostToken } from "../../service/host-token.ts";
import type { Log } from "../../service/log.ts";
import { Metrics } from "../../service/metrics.ts";
import { PolicyBucket } from "../../service/policy-bucket.ts";
import { QualityBucket } from "../../service/quality-bucket.ts";
import { makeSleepBucket } from "../../service/sleep-bucket.ts";
import { Rejections } from "../../service/rejections.ts";
import { readRoutingConfig } from "../../service/routing-config.ts";
import { HeadRegister } from "../../service/head-register.ts";
import { ensureAuditStream, ensureJobStreams, ensureReleaseStream } from "../../service/streams.ts";
import { pause, startLoop } from "../../service/loop.ts";
import { busCertificates } from "./bus-certificates.ts";
import { joinUrls, localUrl, type BusSettings } from "./bus-settings.ts";
import { clusterOptions, replicasFor } from "./cluster.ts";
import { BusKeeper } from "./bus-keeper.ts";
import { BusUsers, type LocalNode } from "./bus-users.ts";
import { Connections } from "./connections.ts";
import { recordStreamChanges } from "./stream-changes.ts";
import { NodesBucket } from "./nodes-bucket.ts";
import { adoptStreams, keepAside, loneStreams, requireStreams } from "./growth.ts";
import { Registrar } from "./registrar.ts";
import { serveReleases } from "./release-desk.ts";
import { recordReleases } from "./release-record.ts";
import { raiseReplicas } from "./replicas.ts";

export interface BrokerOptions {
  env: NodeJS.ProcessEnv;
  /** The bus's own folder: configuration, data, keys. */
  folder: string;
  settings: BusSettings;
  /** Nodes of this machine. */
  locals: readonly LocalNode[];
  /** File of a bus's first routing policy. */
  routingConfig: string;
  log: Log;
  /** A line for people. */
  say: (line: string) => void;
}

/** Certificates of ours are looked at this often, milliseconds: they are renewed a month before their end. */
const RENEWAL_LOOK_MS = 12 * 3_600_000;
/** A cluster without a leader is asked again after this time, milliseconds. */
const LEADER_RETRY_MS = 500;
/** People are told again that it has none after this time, milliseconds. */
const SAY_AGAIN_MS = 15_000;
/** How often it is looked whether every stream has its replicas, milliseconds. */
const REPLICAS_LOOK_MS = 5000;

/**
 * The broker as a company runs it: a nats-server that knows each role by its key and permits it no more than it needs
 * (ADR 0013), the streams of the mesh, and the registrar beside it, who lets nodes in and out.
 */
export class Broker {
  readonly users: BusUsers;
  readonly events: EventPublisher;
  readonly #settings: BusSettings;
  readonly #server: BusKeeper;
  /** The keeper's own connection. */
  readonly #bus: Bus;
  readonly #caFile: string | undefined;
  /** Ended in this order, the server last. */
  readonly #parts: readonly { stop(): Promise<void> }[];

  private constructor(
    { settings }: BrokerOptions,
    users: BusUsers,
    server: BusKeeper,
    running: {
      bus: Bus;
      events: EventPublisher;
      caFile: string | undefined;
      parts: readonly { stop(): Promise<void> }[];
    },
  ) {
    this.users = users;
    this.events = running.events;
    this.#settings = settings;
    this.#server = server;
    this.#bus = running.bus;
    this.#caFile = running.caFile;
    this.#parts = running.parts;
  }

  /** @throws MeshError that says what holds a port or the folder, or why the server does not come up */
  static async start(options: BrokerOptions, signal: AbortSignal): Promise<Broker> {
    const { env, folder, locals, log, say, settings } = options;
    const { cell } = settings;
    const users = new BusUsers(folder, cell, locals, settings.duties);
    const certificates = await busCertificates(folder, settings, say);
    const caFile = certificates?.files.caFile;
    const lone = settings.cluster === undefined ? [] : loneStreams(folder);
    if (lone.length > 0)
      say(`what this bus has stored is copied to ${await keepAside(folder)}, then joins the cluster`);
    let accounts = users.render(users.lastEntries(), Date.now());
    const server = await BusKeeper.start(
      {
        env,
        stateDir: folder,
        ...settings,
        tls: certificates?.files,
        key: settings.encrypt ? () => keptStorageKey(folder) : undefined,
        cluster: settings.cluster === undefined ? undefined : clusterOptions(settings.cluster, settings.port),
        accounts: () => accounts,
        onProgress: say,
        onRestart: (exit) => say(`nats-server ended (${exit}); starting it again`),
      },
      signal,
    );
    forgetFormerKey(folder);
    const setAccounts = async (text: string) => {
      accounts = text;
      await server.bus.setAccounts(text);
    };
    let bus: Bus | undefined;
    try {
      const { port } = server.bus;
      bus = await connectBus(
        "keeper",
        { url: localUrl(settings, port), nkeyFile: users.keyFile("keeper"), caFile, cell },
        log,
      );
      await whenThereIsALeader(options, signal, async () => {
        const { server: own, first = own } = settings.cluster ?? {};
        if (bus === undefined) return;
        if (own !== undefined && lone.length > 0) await adoptStreams(bus, lone, own);
        else if (first !== undefined && first !== own) await requireStreams(bus, first);
        await makeStreams(bus, options);
      });
      const events = new EventPublisher(bus, "keeper", hostToken(), log);
      const rejections = new Rejections("keeper", events, new Metrics("keeper"), log);
      const urls = joinUrls(settings, port);
      const bucket = await NodesBucket.open(bus);
      const caPem = certificates?.caPem ?? null;
      const registrar = new Registrar({
        bus,
        bucket,
        users,
        setAccounts,
        urls,
        caPem,
        events,
        rejections,
        log,
        nowMs: Date.now,
      });
      await registrar.start();
      new Connections({ bus, nodeOf: (key) => users.nodeOf(key, bucket.entries), log }).start();
      const owners = { keeper: users.publicKey("keeper"), auditor: users.publicKey("auditor") };
      recordStreamChanges({ bus, events, log, owners });
      recordReleases({ bus, events, rejections });
      await serveReleases({ bus, rejections });
      const renewal = startLoop(
        {
          name: "certificates",
          everyMs: RENEWAL_LOOK_MS,
          onError: (error) => log.error({ err: error }, "certificates"),
        },
        // The server reads its certificate anew whenever it reads its accounts.
        async () => {
          if ((await busCertificates(folder, settings, say))?.changed === true) await setAccounts(accounts);
        },
      );
      const parts = [
        renewal,
        keepReplicas(bus, options),
        registrar,
        { stop: () => rejections.close() },
        { stop: () => events.close(1000) },
      ];
      return new Broker(options, users, server, { bus, events, caFile, parts });
    } catch (error) {
      await bus?.drain();
      await server.stop();
      throw error;
    }
  }

  /** How a process of this role, on this machine, connects. */
  addressOf(role: Parameters<BusUsers["keyFile"]>[0]): BusAddress & { url: string } {
    const url = localUrl(this.#settings, this.#server.bus.port);
    return { url, nkeyFile: this.users.keyFile(role), caFile: this.#caFile, cell: this.#settings.cell };
  }

  get server(): Pick<BusKeeper["bus"], "pid" | "port" | "version"> {
    return this.#server.bus;
  }

  async stop(): Promise<void> {
    for (const part of this.#parts) await part.stop();
    await this.#bus.drain();
    await this.#server.stop();
  }
}

/**
 * Runs `make` until it succeeds: the first server of a cluster has to wait for others, without whom nothing can be stored.
 * A bus of one server has no such excuse: what it says is thrown.
 */
async function whenThereIsALeader(
  { log, say, settings: { cluster } }: BrokerOptions,
  signal: AbortSignal,
  make: () => Promise<unknown>,
): Promise<void> {
  let saidAtMs = -Infinity;
  for (;;) {
    signal.throwIfAborted();
    try {
      await make();
      if (saidAtMs > -Infinity) say("the cluster has a leader");
      return;
    } catch (error) {
      if (cluster === undefined || (error instanceof MeshError && error.code === "bad_config")) throw error;
      log.info({ err: error }, "the streams cannot be made yet");
      if (performance.now() - saidAtMs > SAY_AGAIN_MS) {
        const { name, servers } = cluster;
        const needed = Math.floor(servers.length / 2) + 1;
        say(`waiting for the cluster ${name}: it stores nothing before ${needed} of its ${servers.length} servers run`);
        saidAtMs = performance.now();
      }
      await pause(LEADER_RETRY_MS, signal);
    }
  }
}

/** Raises the replicas of streams that were made before all servers were there, or before there was a cluster. */
function keepReplicas(bus: Bus, { log, say, settings: { cluster } }: BrokerOptions): { stop(): Promise<void> } {
  const wanted = replicasFor(cluster);
  let said = "";
  const onError = (error: unknown) => log.info({ err: error }, "replicas cannot be raised now");
  return startLoop({ name: "replicas", everyMs: REPLICAS_LOOK_MS, onError }, async () => {
    const { raised, above } = await raiseReplicas(bus, wanted);
    if (raised.length > 0) say(`${raised.join(", ")}: now held by ${wanted} servers`);
    const line = `${above.join(", ")}: held by more servers than these settings ask for (${wanted}); left so, lower it by hand if it is meant: nats stream edit --replicas`;
    if (above.length > 0 && line !== said) say((said = line));
  });
}

/** What the mesh keeps on the bus. The keeper alone may make streams; all others find them. */
async function makeStreams(bus: Bus, { routingConfig, log, say }: BrokerOptions): Promise<void> {
  if (bus.nc.info?.jetstream !== true)
    throw new MeshError("bad_config", "nats-server runs without JetStream, which keeps the audit");
  await ensureAuditStream(bus);
  await ensureJobStreams(bus);
  await QualityBucket.make(bus);
  await makeSleepBucket(bus);
  await ensureReleaseStream(bus, say);
  await HeadRegister.make(bus);
  const policy = await PolicyBucket.open(bus);
  if ((await policy.state()) !== undefined) return;
  const { text } = readRoutingConfig(routingConfig);
  const note = `first policy, from ${basename(routingConfig)}`;
  await policy.put(text, { by: "keeper", note, after: 0 }).catch((error: unknown) => {
    // Another server's keeper was first.
    log.info({ err: error }, "the policy bucket was filled by somebody else");
  });
}
