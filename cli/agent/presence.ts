import { localAgents } from "../../agent/local-control/address.ts";
import { askAgent } from "../../agent/local-control/ask.ts";
import { CommandRunner } from "../../agent/probes/command.ts";
import { createHost } from "../../agent/probes/host.ts";
import type { ProbeHost } from "../../agent/probes/probe.ts";
import { createUserProbe } from "../../agent/probes/user.ts";
import { startLoop } from "../../service/loop.ts";
import { stateDir } from "../../service/paths.ts";
import { note } from "../format/terminal.ts";

/**
 * The helper in a person's session (launchd starts one in each): says to the machine's agents how long ago somebody was there, until
 * `signal` aborts. No agent, or one that does not listen, is no error: there may be one later.
 */
export async function tellPresence(
  env: NodeJS.ProcessEnv,
  signal: AbortSignal,
  { json = false, host }: { json?: boolean; host?: ProbeHost } = {},
): Promise<void> {
  const here = host ?? createHost({ stateDir: stateDir({ env }), commands: new CommandRunner(), env });
  const probe = createUserProbe();
  const onError = (error: unknown) => note(error instanceof Error ? error.message : "the session cannot be looked at");
  const loop = startLoop(
    { name: "presence", everyMs: probe.everyMs, onError },
    async (stop) => {
      const { values } = await probe.probe(here, AbortSignal.any([stop, AbortSignal.timeout(probe.timeoutMs)]));
      const idle = values["user_idle_seconds"];
      if (typeof idle !== "number") return;
      const said = localAgents(env, stateDir({ env })).map((path) =>
        askAgent(path, { command: "presence", idle_seconds: idle }).catch(() => undefined),
      );
      const heard = (await Promise.all(said)).filter((status) => status !== undefined);
      if (json)
        process.stdout.write(`${JSON.stringify({ idle_seconds: idle, told: heard.map((each) => each.node_id) })}\n`);
    },
    signal,
  );
  await new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
  await loop.stop();
}
