import { z } from "zod";
import { MeshError, SubjectToken } from "../../bus-schemas/index.ts";
import type { ClusterOptions } from "../../service/bus-server/index.ts";

/** Port on which servers of a cluster find each other, unless a route says another. */
const ROUTE_PORT = 6222;

const ClusterServer = z.strictObject({
  /** Unique in the cluster. */
  name: SubjectToken,
  /** Name or address by which the other servers, and clients, reach it. */
  host: z.string().regex(/^[A-Za-z0-9_.:-]{1,253}$/, "a host name or an address"),
  /** Of its routes. */
  port: z.number().int().min(1).max(65_535).default(ROUTE_PORT),
});

/** The cluster that a bus is one server of: the same on all of them but for `server`. */
export const ClusterSettings = z
  .strictObject({
    name: SubjectToken,
    /** Which one of `servers` this is. */
    server: SubjectToken,
    servers: z.array(ClusterServer).min(2).max(9),
    /** The server that was a bus of its own before and brings what it has stored; the others wait for it (growth.ts). */
    first: SubjectToken.optional(),
  })
  .refine(({ servers }) => new Set(servers.map(({ name }) => name)).size === servers.length, {
    message: "two servers have one name",
    path: ["servers"],
  })
  .refine(({ server, servers }) => servers.some(({ name }) => name === server), {
    message: "none of the cluster's servers",
    path: ["server"],
  });
export type ClusterSettings = z.infer<typeof ClusterSettings>;

/**
 * The servers that `--routes` names: `host:port` separated by commas, each with `name=` before it or called n1, n2, … in turn.
 * @throws MeshError `bad_config` quoting what is no route
 */
export function parseRoutes(text: string): ClusterSettings["servers"] {
  const parts = text
    .split(",")
    .map((part) => part.trim())
    .filter((part) => part !== "");
  return parts.map((part, index) => {
    const [, name = `n${index + 1}`, bracketed, plain, port] =
      /^(?:([A-Za-z0-9_-]{1,64})=)?(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9_.-]+))(?::(\d{1,5}))?$/.exec(part) ?? [];
    const server = ClusterServer.safeParse({
      name,
      host: bracketed ?? plain,
      ...(port === undefined ? {} : { port: Number(port) }),
    });
    if (!server.success)
      throw new MeshError("bad_config", `--routes: "${part.slice(0, 80)}" is not host:port`, { field: "routes" });
    return server.data;
  });
}

/**
 * How many servers hold each stream: three from three servers on, which lose one without losing anything. More would cost
 * every event more and protect only from two losses at once. Two servers are no safer than one: both are needed to write.
 */
export function replicasFor(cluster: Pick<ClusterSettings, "servers"> | undefined): number {
  return (cluster?.servers.length ?? 1) >= 3 ? 3 : 1;
}

/** The server of the cluster that this is. */
export function ownServer({ server, servers }: ClusterSettings): ClusterSettings["servers"][number] {
  const own = servers.find(({ name }) => name === server);
  if (own === undefined) throw new MeshError("bad_config", `the cluster has no server ${server}`, { field: "server" });
  return own;
}

/** @param clientPort of every server */
export function clusterOptions(cluster: ClusterSettings, clientPort: number): ClusterOptions {
  const { name, server, servers } = cluster;
  const own = ownServer(cluster);
  return {
    name,
    serverName: server,
    port: own.port,
    routes: servers.map(({ host, port }) => `${inUrl(host)}:${port}`),
    // By the name that its certificate has.
    ...(clientPort === 0 ? {} : { advertise: `${inUrl(own.host)}:${clientPort}` }),
  };
}

/** A host as it stands in a URL. */
export function inUrl(host: string): string {
  return host.includes(":") ? `[${host}]` : host;
}
