import { connect } from "node:net";
import { MeshError, parseOrThrow } from "../../bus-schemas/index.ts";
import { LocalReply, type LocalRequest, type LocalStatus } from "./protocol.ts";

/** An agent answers at once, or is not there, milliseconds. */
const ANSWER_LIMIT_MS = 3000;

/**
 * Asks the agent that listens at `path`.
 * @returns undefined when nobody listens there
 * @throws MeshError what the agent says; `forbidden` when this user may not ask it, `node_lost` when it does not answer
 */
export async function askAgent(path: string, request: LocalRequest): Promise<LocalStatus | undefined> {
  const text = await exchange(path, `${JSON.stringify(request)}\n`);
  if (text === undefined) return undefined;
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    throw new MeshError("node_lost", `the agent at ${path} answers with what is no answer`);
  }
  const reply = parseOrThrow(LocalReply, body, "internal");
  if (!reply.ok) throw MeshError.fromWire(reply.error);
  return reply.agent;
}

function exchange(path: string, line: string): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    let text = "";
    socket.setTimeout(ANSWER_LIMIT_MS, () =>
      socket.destroy(new MeshError("node_lost", `the agent at ${path} does not answer`)),
    );
    socket.setEncoding("utf8");
    socket.on("connect", () => void socket.write(line));
    socket.on("data", (piece: string) => (text += piece));
    socket.on("end", () => resolve(text));
    socket.on("error", (cause: NodeJS.ErrnoException) => {
      if (cause instanceof MeshError) return reject(cause);
      // A socket whose agent was killed lies there still, and refuses.
      if (["ENOENT", "ECONNREFUSED", "ENOTDIR", "ENOTSOCK"].includes(cause.code ?? "")) return resolve(undefined);
      const may = cause.code === "EACCES" || cause.code === "EPERM";
      reject(
        may
          ? new MeshError("forbidden", `${path} is for the user alone whose agent this is`, { cause })
          : new MeshError("node_lost", `the agent at ${path} broke off (${cause.code ?? "?"})`, { cause }),
      );
    });
  });
}
