import type { Command } from "commander";
import { MeshError, WakeReply, parseOrThrow } from "../../bus-schemas/index.ts";
import { isNoResponder, type MeshClient } from "../../client/index.ts";
import { newId } from "../../service/ids.ts";
import { EXIT, examples } from "../command.ts";
import { dim, note, print, printJson } from "../format/terminal.ts";
import { subjectToken } from "../options.ts";
import { operator } from "../policy/source.ts";
import { withClient } from "../with-client.ts";

/** The router says something every second; after this silence it is gone, milliseconds. The first word waits for the neighbours. */
const SILENCE_LIMIT_MS = 20_000;

/** `tiermesh node wake <node>` */
export function addWakeVerb(parent: Command): void {
  parent
    .command("wake")
    .description("wake a machine that sleeps by a neighbour's magic packet (Wake-on-LAN), and wait until it takes jobs")
    .argument("<node>", "the node's id", subjectToken)
    .option("--json", "as JSON: how it ended")
    .addHelpText("after", examples("tiermesh node wake desk-7", "tiermesh node wake desk-7 --json && tiermesh nodes"))
    .action((node: string, flags: { json?: boolean }) =>
      withClient(async (client) => {
        const progress = progressLine(node);
        let reply: WakeReply;
        try {
          reply = await wake(client, node, (told) => progress.show(told));
        } finally {
          progress.end();
        }
        if (flags.json === true) printJson(reply);
        else if (reply.ok) print(`${node} ${describe(reply)}`);
        else note(`${node}: ${reply.error?.message ?? "it did not come up"} (${reply.waited_seconds.toFixed(1)} s)`);
        process.exitCode = reply.ok ? EXIT.ok : EXIT.failed;
      }),
    );
}

function describe({ neighbour, outcome, waited_seconds: waited }: WakeReply): string {
  if (outcome !== "ready") return "is awake already";
  return `is awake and takes jobs, ${waited.toFixed(1)} s after ${neighbour ?? "a neighbour"} was asked to wake it`;
}

/**
 * Has a machine woken by a router, and waits until that has ended, well or not.
 * @throws MeshError why it cannot even be tried; `no_router` when none answers, `node_lost` when it falls silent
 */
async function wake({ bus }: MeshClient, node: string, onProgress: (told: WakeReply) => void): Promise<WakeReply> {
  const { promise, resolve, reject } = Promise.withResolvers<WakeReply>();
  const inbox = `${bus.inbox}.wake.${newId()}`;
  const silent = new MeshError("node_lost", `the router has fallen silent; ${node} may wake up all the same`);
  const silence = setTimeout(() => reject(silent), SILENCE_LIMIT_MS);
  const replies = bus.listen(inbox, (msg) => {
    silence.refresh();
    try {
      if (isNoResponder(msg))
        throw new MeshError("no_router", "no router listens; tiermesh status shows what runs on this machine");
      const reply = parseOrThrow(WakeReply, msg.json(), "internal");
      if (!reply.done) onProgress(reply);
      else if (reply.error === null || reply.outcome !== null) resolve(reply);
      else reject(MeshError.fromWire(reply.error));
    } catch (error) {
      reject(MeshError.from(error, "internal", "the router answers with what is no answer"));
    }
  });
  try {
    bus.nc.publish(bus.subjects.wake, JSON.stringify({ node_id: node, by: operator() }), { reply: inbox });
    return await promise;
  } finally {
    clearTimeout(silence);
    replies.unsubscribe();
  }
}

/** How long it takes already, to the person at the terminal: one line that changes, or where that is no terminal one line. */
function progressLine(node: string): { show(told: WakeReply): void; end(): void } {
  let told = false;
  return {
    show({ neighbour, ready_in_seconds: ready, waited_seconds: waited }) {
      const usual = ready === null ? "it was never woken before" : `it usually takes ${Math.round(ready)} s`;
      const line = `${node}: ${neighbour ?? "a neighbour"} has sent the magic packet; ${Math.round(waited)} s, ${usual}`;
      if (process.stderr.isTTY) process.stderr.write(`\r\u001b[2K${dim(line)}`);
      else if (!told) note(line);
      told = true;
    },
    end() {
      if (process.stderr.isTTY && told) process.stderr.write("\r\u001b[2K");
    },
  };
}
