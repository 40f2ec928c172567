import { askPowerShell } from "./powershell.ts";
import { ProbeError, type Probe, type ProbeHost } from "./probe.ts";
import { complaint, run, unreadable, type Tool } from "./tool.ts";

const NMCLI: Tool = { name: "nmcli", programs: ["nmcli", "/usr/bin/nmcli"], timeoutMs: 4000 };

/** nmcli(1): NetworkManager is not running; there is no such device. It knows nothing then, and nothing is broken. */
const KNOWS_NOTHING = [8, 10];

/**
 * Whether bytes cost money on the way to the rest of the world: the network with the default route. Linux: what NetworkManager knows or
 * guesses of it (a phone's hotspot); Windows: its connection cost; macOS has no documented way: null.
 */
export function createNetworkProbe(): Probe {
  return {
    name: "network",
    fills: "network",
    everyMs: 60_000,
    timeoutMs: 15_000,
    async probe(host, signal) {
      if (host.platform === "linux") return ofNetworkManager(host, signal);
      if (host.platform !== "win32") return { values: { metered: null }, how: "this system does not say" };
      const said = await askPowerShell(host, "network", WINDOWS_QUESTION, signal);
      return { values: { metered: said === undefined ? null : ofWindows(said) }, how: "Windows connection cost" };
    },
  };
}

async function ofNetworkManager(host: ProbeHost, signal: AbortSignal) {
  const device = await defaultDevice(host);
  if (device === undefined) return { values: { metered: null }, how: "no default route" };
  const output = await run(host, NMCLI, ["-t", "-f", "GENERAL.METERED", "dev", "show", device], signal);
  if (output === undefined || KNOWS_NOTHING.includes(output.code ?? 0)) {
    return { values: { metered: null }, how: "no NetworkManager, which alone would know" };
  }
  if (output.code !== 0) throw new ProbeError(complaint("nmcli", output));
  // "yes", "no", each also "(guessed)", or "unknown".
  const answer = /^GENERAL\.METERED:(yes|no|unknown)\b/m.exec(output.stdout)?.[1];
  if (answer === undefined) throw unreadable("nmcli", output.stdout);
  return { values: { metered: answer === "unknown" ? null : answer === "yes" }, how: "NetworkManager" };
}

/** The device of the default route with the lowest metric, from /proc/net/route: `Iface Destination Gateway Flags RefCnt Use Metric Mask …`. */
async function defaultDevice(host: ProbeHost): Promise<string | undefined> {
  const routes = ((await host.readText("/proc/net/route")) ?? "").split("\n").slice(1);
  const defaults = routes
    .map((line) => line.trim().split(/\s+/))
    .filter(([, destination, , , , , , mask]) => destination === "00000000" && mask === "00000000")
    .toSorted((one, other) => Number(one[6]) - Number(other[6]));
  const device = defaults[0]?.[0];
  return device !== undefined && /^[A-Za-z0-9][\w.:@-]{0,14}$/.test(device) ? device : undefined;
}

/** NetworkCostType of Windows.Networking.Connectivity, which Windows PowerShell can call. */
const WINDOWS_QUESTION =
  "[void][Windows.Networking.Connectivity.NetworkInformation,Windows,ContentType=WindowsRuntime]; " +
  "$p = [Windows.Networking.Connectivity.NetworkInformation]::GetInternetConnectionProfile(); " +
  "if ($p) { [string]$p.GetConnectionCost().NetworkCostType } else { 'Unknown' }";

/** Fixed: free up to a limit; variable: by the byte. */
function ofWindows(said: string): boolean | null {
  const cost = said.trim();
  if (cost === "Unknown") return null;
  if (cost === "Unrestricted") return false;
  if (cost === "Fixed" || cost === "Variable") return true;
  throw unreadable("powershell", said);
}
