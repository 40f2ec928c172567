import { execFileSync } from "node:child_process";

/** A machine of a test: its own network where the system lets us make one, else an address of loopback. */
export interface Host {
  name: string;
  address: string;
  /** What comes before a program's path so that it runs there. */
  prefix: readonly string[];
  /** Takes its network away, and gives it back; undefined where it has none of its own. */
  cut: (() => void) | undefined;
  heal: (() => void) | undefined;
}

export interface Hosts {
  hosts: Host[];
  /** Why they share one network; undefined when each has its own. */
  shared: string | undefined;
  close(): void;
}

/**
 * `count` machines that reach each other, and that this process reaches: Linux network namespaces on a bridge, for root with
 * iproute2; else 127.0.0.11, 127.0.0.12, … All that is made has `tag` in its name, at most 8 characters.
 */
export function makeHosts(count: number, tag: string): Hosts {
  const why = whyNoNamespaces();
  if (why !== undefined) {
    const hosts = Array.from({ length: count }, (_, i): Host => {
      return { name: `h${i + 1}`, address: `127.0.0.${11 + i}`, prefix: [], cut: undefined, heal: undefined };
    });
    return { hosts, shared: why, close: () => undefined };
  }
  const bridge = `${tag}b`;
  // A network for each run, from the block for private use (RFC 1918), away from the ranges that are usual in companies.
  const network = `10.213.${process.pid % 250}`;
  const hosts: Host[] = [];
  const close = () => {
    for (const { name } of hosts) tryIp("netns", "del", `${tag}${name}`);
    tryIp("link", "del", bridge);
  };
  try {
    ip("link", "add", bridge, "type", "bridge");
    ip("addr", "add", `${network}.254/24`, "dev", bridge);
    ip("link", "set", bridge, "up");
    for (let i = 1; i <= count; i++) {
      const name = `h${i}`;
      const space = `${tag}${name}`;
      const [outside, inside] = [`${tag}o${i}`, `${tag}i${i}`];
      ip("netns", "add", space);
      hosts.push({
        name,
        address: `${network}.${i}`,
        prefix: ["ip", "netns", "exec", space],
        cut: () => ip("link", "set", outside, "down"),
        heal: () => ip("link", "set", outside, "up"),
      });
      ip("link", "add", outside, "type", "veth", "peer", "name", inside, "netns", space);
      ip("link", "set", outside, "master", bridge);
      ip("link", "set", outside, "up");
      ip("-n", space, "addr", "add", `${network}.${i}/24`, "dev", inside);
      ip("-n", space, "link", "set", inside, "up");
      ip("-n", space, "link", "set", "lo", "up");
    }
  } catch (error) {
    close();
    throw error;
  }
  return { hosts, shared: undefined, close };
}

function whyNoNamespaces(): string | undefined {
  if (process.env["TIERMESH_TEST_HOSTS"] === "loopback") return "TIERMESH_TEST_HOSTS=loopback";
  if (process.platform !== "linux") return "network namespaces are Linux's";
  if (process.getuid?.() !== 0) return "network namespaces need root";
  const probe = `tmprobe${process.pid}`;
  if (!tryIp("netns", "add", probe)) return "`ip netns add` does not work here (iproute2, CAP_SYS_ADMIN)";
  tryIp("netns", "del", probe);
  return undefined;
}

function ip(...args: string[]): void {
  execFileSync("ip", args, { stdio: ["ignore", "ignore", "pipe"] });
}

function tryIp(...args: string[]): boolean {
  try {
    ip(...args);
    return true;
  } catch {
    return false;
  }
}
