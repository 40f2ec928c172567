import { MeshError } from "../../bus-schemas/index.ts";
import { runCommand } from "../../service/run-command.ts";
import type { Means } from "./means.ts";

/** systemd waits for a unit's own start and stop, which have limits of their own (90 s by default), milliseconds. */
const SYSTEMCTL_LIMIT_MS = 200_000;

export interface SystemdUnitParts {
  unit: string;
  /** Of the agent's own user. */
  user: boolean;
  env: NodeJS.ProcessEnv;
}

/**
 * A service of systemd's, restarted by `systemctl`: over D-Bus, so that the agent needs no rights but those that polkit gives it for
 * this unit (docs/agent.md). It goes on when the agent stops.
 */
export class SystemdUnitMeans implements Means {
  readonly #parts: SystemdUnitParts;
  readonly description: string;

  constructor(parts: SystemdUnitParts) {
    this.#parts = parts;
    this.description = `systemd unit ${parts.unit}`;
  }

  async restart(signal: AbortSignal): Promise<void> {
    const { unit, user, env } = this.#parts;
    const flags = ["--no-ask-password", ...(user ? ["--user"] : [])];
    // A unit that failed too often in a row is started again only after this; it fails for a unit that has not failed.
    await runCommand("systemctl", [...flags, "reset-failed", unit], { env, timeoutMs: SYSTEMCTL_LIMIT_MS }, signal);
    const { code, stderr } = await runCommand(
      "systemctl",
      [...flags, "restart", unit],
      { env, timeoutMs: SYSTEMCTL_LIMIT_MS },
      signal,
    );
    if (code === 0 || signal.aborted) return;
    throw new MeshError("runtime_failed", `systemctl restart ${unit}: ${reasonIn(stderr)}`);
  }

  stop(): Promise<void> {
    return Promise.resolve();
  }
}

/** systemctl's first line; the second is where to look further. */
function reasonIn(stderr: string): string {
  const [line = ""] = stderr.trim().split("\n");
  if (/Interactive authentication required|Access denied/i.test(line))
    return "this user may not restart it; docs/agent.md has the rule for polkit";
  return line.replaceAll(/\p{Cc}/gu, "?").slice(0, 150) || "failed and said nothing";
}
