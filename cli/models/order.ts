import {
  ControlReply,
  MeshError,
  parseOrThrow,
  type ControlRequest,
  type ModelProgress,
} from "../../bus-schemas/index.ts";
import { isNoResponder, type MeshClient } from "../../client/index.ts";
import { newId } from "../../service/ids.ts";
import { operator } from "../policy/source.ts";
import { dim, note } from "../format/terminal.ts";

/** A node says something every second while it carries a command out; after this silence it is gone, milliseconds. */
const SILENCE_LIMIT_MS = 5000;

/**
 * Has a node carry a command out, and waits for its end.
 * @throws MeshError what the node says; `not_found` when nobody of that name listens, `node_lost` when it falls silent
 */
export async function command(
  client: MeshClient,
  node: string,
  request: ControlRequest,
  onProgress: (progress: ModelProgress) => void,
): Promise<ControlReply> {
  const reply = await askNode(client, node, request, onProgress);
  if (reply.error !== null) throw MeshError.fromWire(reply.error);
  return reply;
}

/**
 * As {@link command}; the last reply is returned also when the node says no.
 * @throws MeshError `not_found` when nobody of that name listens, `node_lost` when it falls silent
 */
export async function askNode(
  { bus }: MeshClient,
  node: string,
  request: ControlRequest,
  onProgress: (progress: ModelProgress) => void,
): Promise<ControlReply> {
  const { promise, resolve, reject } = Promise.withResolvers<ControlReply>();
  const inbox = `${bus.inbox}.control.${newId()}`;
  const silence = setTimeout(
    () => reject(new MeshError("node_lost", `${node} has fallen silent; what it was told may still go on there`)),
    SILENCE_LIMIT_MS,
  );
  const replies = bus.listen(inbox, (msg) => {
    silence.refresh();
    try {
      if (isNoResponder(msg))
        throw new MeshError("not_found", `no node ${node} listens; tiermesh nodes shows who is there`, {
          field: "node",
        });
      const reply = parseOrThrow(ControlReply, msg.json(), "internal");
      if (reply.done || reply.error !== null) resolve(reply);
      else if (reply.progress !== null) onProgress(reply.progress);
    } catch (error) {
      reject(MeshError.from(error, "internal", `${node} answers with what is no answer`));
    }
  });
  try {
    bus.nc.publish(bus.subjects.control(node), JSON.stringify({ ...request, by: operator() }), { reply: inbox });
    return await promise;
  } finally {
    clearTimeout(silence);
    replies.unsubscribe();
  }
}

/** Shows how far it is, to the person at the terminal: one line that changes, or where that is no terminal one for each phase. */
export function progressLine(model: string): { show(progress: ModelProgress): void; end(): void } {
  const terminal = process.stderr.isTTY;
  let phase: string | undefined;
  return {
    show(progress) {
      if (terminal) process.stderr.write(`\r\u001b[2K${dim(`${model}: ${describe(progress)}`)}`);
      else if (progress.phase !== phase) note(`${model}: ${describe(progress)}`);
      phase = progress.phase;
    },
    end() {
      if (terminal && phase !== undefined) process.stderr.write("\r\u001b[2K");
    },
  };
}

/** `downloading 42 %, 0.8 of 1.9 GB` */
export function describe({ phase, done_bytes: done, total_bytes: total }: ModelProgress): string {
  if (done === null || total === null || total === 0) return phase;
  const percent = Math.floor((Math.min(done, total) / total) * 100);
  return `${phase} ${percent} %, ${gb(done)} of ${gb(total)} GB`;
}

function gb(bytes: number): string {
  return (bytes / 2 ** 30).toFixed(1);
}
