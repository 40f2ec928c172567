import { Seconds } from "../../bus-schemas/units.ts";
import { roundTo, validOrNull, type Probe, type ProbeHost } from "./probe.ts";
import { ask, run, unreadable, type Tool } from "./tool.ts";

const LOGINCTL: Tool = { name: "loginctl", programs: ["loginctl", "/usr/bin/loginctl"], timeoutMs: 4000 };
const XPRINTIDLE: Tool = { name: "xprintidle", timeoutMs: 4000 };
const STAT: Tool = { name: "stat", timeoutMs: 4000 };
const IOREG: Tool = { name: "ioreg", programs: ["/usr/sbin/ioreg"], timeoutMs: 4000 };
/** logind keeps a file for each session here; only their names are read, as sd_get_sessions(3) does. */
const SESSIONS = "/run/systemd/sessions";
const TERMINALS = "/dev/pts";

/** How long ago somebody was seen, seconds, and by what. null = that source cannot tell. */
interface Sight {
  seconds: number | null;
  how: string;
}

/** So shortly after somebody was seen it does not matter what the sources without an answer would say, seconds. */
const JUST_SEEN_SECONDS = 60;

/**
 * Seconds since a person last touched this machine, the latest of all sources; null when one that there is cannot tell, unless
 * somebody was seen a moment ago. What is typed or clicked is
 * never looked at, only when. Without root: on Linux logind (desktops report idleness to it, terminals are counted by their last
 * use), an X11 display by xprintidle, terminals by their access times where there is no logind; on macOS IOHIDSystem's
 * HIDIdleTime. On Windows only a program in the person's own session may ask (GetLastInputInfo), which a service is not: null.
 */
export function createUserProbe(): Probe {
  return {
    name: "user",
    fills: "user",
    everyMs: 5000,
    timeoutMs: 10_000,
    async probe(host, signal) {
      const sights = await sightsOf(host, signal);
      const known = sights.flatMap(({ seconds, how }) => (seconds === null ? [] : [{ seconds, how }]));
      const [latest] = known.toSorted((one, other) => one.seconds - other.seconds);
      const blind = sights.find(({ seconds }) => seconds === null);
      // Who sits at a desktop that does not tell is not away because another terminal is idle.
      const counts = blind === undefined || (latest !== undefined && latest.seconds < JUST_SEEN_SECONDS);
      const idle = counts ? validOrNull(Seconds, latest && roundTo(latest.seconds, 0)) : null;
      const how = (counts ? latest?.how : blind.how) ?? "nobody is logged in that could be seen";
      return { values: { user_idle_seconds: idle }, how };
    },
  };
}

async function sightsOf(host: ProbeHost, signal: AbortSignal): Promise<Sight[]> {
  if (host.platform === "darwin") return [await ofMac(host, signal)];
  if (host.platform !== "linux") {
    return [{ seconds: null, how: "a service cannot see the person's session on this system" }];
  }
  const { DISPLAY: name = "", WAYLAND_DISPLAY: wayland = "" } = host.env;
  // Of a Wayland desktop an X11 display sees only what happens in its own windows.
  const display = name === "" || wayland !== "" ? undefined : await ofDisplay(host, signal);
  const sessions = await ofLogind(host, signal, display !== undefined);
  const terminals = sessions === undefined ? await ofTerminals(host, signal) : [];
  return [...(display === undefined ? [] : [display]), ...(sessions ?? []), ...terminals];
}

const PROPERTIES = ["Class", "Type", "State", "Remote", "IdleHint", "IdleSinceHint"];

/** undefined = no logind here. `displaySeen`: the X11 display has answered for itself. `loginctl show-session` answers a block of `Key=value` lines for each session. */
async function ofLogind(host: ProbeHost, signal: AbortSignal, displaySeen: boolean): Promise<Sight[] | undefined> {
  const ids = (await host.list(SESSIONS)).filter((name) => /^[A-Za-z0-9]{1,32}$/.test(name)).slice(0, 32);
  if (ids.length === 0) return undefined;
  const asked = PROPERTIES.map((key) => `--property=${key}`);
  const stdout = await ask(host, LOGINCTL, ["show-session", ...ids, ...asked], signal);
  if (stdout === undefined) return undefined;
  const blocks = stdout.split(/\n\s*\n/).filter((block) => block.trim() !== "");
  const whole = blocks.filter((block) => PROPERTIES.every((key) => new RegExp(`^${key}=.*$`, "m").test(block)));
  // A session overlooked is a person overlooked.
  if (whole.length !== ids.length || !stdout.endsWith("\n")) throw unreadable("loginctl", stdout);
  return blocks.flatMap((block) => ofSession(block, host.nowMs(), displaySeen));
}

/**
 * One session of a person (no greeter, no service). `IdleSinceHint` in microseconds since 1970: of a terminal its last use, of a desktop when the
 * hint changed.
 */
function ofSession(block: string, nowMs: number, displaySeen: boolean): Sight[] {
  const value = (key: string) => new RegExp(`^${key}=(.*)$`, "m").exec(block)?.[1]?.trim();
  if (value("Class") !== "user" || value("State") === "closing") return [];
  const since = value("IdleSinceHint") ?? "";
  const sinceMs = /^[1-9]\d{9,17}$/.test(since) ? Number(since) / 1000 : undefined;
  const ago = sinceMs === undefined || sinceMs > nowMs ? null : (nowMs - sinceMs) / 1000;
  const type = value("Type");
  if (type === "tty") {
    // Somebody may have started a desktop on a console; then the console itself is no longer used.
    const told = value("Remote") === "yes" || (ago !== null && ago < JUST_SEEN_SECONDS);
    return [told ? { seconds: ago, how: "logind: a terminal's last use" } : { seconds: null, how: CONSOLE }];
  }
  if (!["x11", "wayland", "mir"].includes(type ?? "") || (type === "x11" && displaySeen)) return [];
  const idle = value("IdleHint");
  if (idle === "yes") return [{ seconds: ago, how: "logind: the desktop is idle" }];
  // A desktop that has never set the hint does not maintain it, and its "no" says nothing.
  return idle !== "no" || ago === null
    ? [{ seconds: null, how: "logind: this desktop does not say when it is idle" }]
    : [{ seconds: 0, how: "logind: the desktop is in use" }];
}

const CONSOLE = "logind: somebody is logged in on a console, where a desktop may run that does not tell";

/** Milliseconds since the last key or mouse event of the X11 display in DISPLAY; undefined = no xprintidle, or it may not see the display. */
async function ofDisplay(host: ProbeHost, signal: AbortSignal): Promise<Sight | undefined> {
  const output = await run(host, XPRINTIDLE, [], signal);
  if (output?.code !== 0) return undefined;
  if (!/^\d{1,15}\r?\n$/.test(output.stdout)) throw unreadable("xprintidle", output.stdout);
  return { seconds: Number(output.stdout) / 1000, how: "xprintidle" };
}

/** Access times of the terminals, seconds since 1970: what `w` shows as idle. */
async function ofTerminals(host: ProbeHost, signal: AbortSignal): Promise<Sight[]> {
  const names = (await host.list(TERMINALS)).filter((name) => /^\d{1,6}$/.test(name)).slice(0, 64);
  if (names.length === 0) return [];
  const stdout = await ask(host, STAT, ["-c", "%X", ...names.map((name) => `${TERMINALS}/${name}`)], signal);
  if (stdout === undefined) return [];
  const times = stdout.split("\n").filter((line) => /^\d{9,11}$/.test(line));
  // A line for each terminal, and none cut off.
  if (times.length !== names.length || !stdout.endsWith("\n")) throw unreadable("stat", stdout);
  return times.map((time) => ({
    seconds: Math.max(0, host.nowMs() / 1000 - Number(time)),
    how: "access times of the terminals in /dev/pts",
  }));
}

/** `"HIDIdleTime" = 4500000000`, nanoseconds, of every keyboard and pointer together. */
async function ofMac(host: ProbeHost, signal: AbortSignal): Promise<Sight> {
  const how = "ioreg IOHIDSystem: HIDIdleTime";
  const stdout = await ask(host, IOREG, ["-c", "IOHIDSystem", "-d", "4", "-r"], signal);
  if (stdout === undefined) return { seconds: null, how: "no ioreg here" };
  const times = [...stdout.matchAll(/"HIDIdleTime" = (\d{1,19})\r?\n/g)].map((found) => Number(found[1]));
  if (times.length === 0) throw unreadable("ioreg", stdout);
  return { seconds: Math.min(...times) / 1e9, how };
}
