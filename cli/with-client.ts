import { PermissionViolationError } from "@nats-io/nats-core";
import { MeshError } from "../bus-schemas/index.ts";
import { MeshClient, SaltKeeper } from "../client/index.ts";
import { createLog } from "../service/log.ts";
import { saltsDir } from "../service/paths.ts";
import { busAddress } from "./mesh-file.ts";

/**
 * Runs `body` with a client on the mesh of this machine, or of `TIERMESH_NATS_URL`, and closes it.
 * @param optional whether the command can do without what the broker refused: then that is not why it fails
 * @throws MeshError `forbidden` when it fails and the broker had refused something: then that is why
 */
export async function withClient<T>(
  body: (client: MeshClient) => Promise<T>,
  optional: (subject: string) => boolean = () => false,
): Promise<T> {
  const client = await MeshClient.connect({
    ...busAddress(process.env),
    name: "cli",
    log: createLog("cli", process.env["LOG_LEVEL"] ?? "fatal"),
    salts: new SaltKeeper(saltsDir()),
    pseudonyms: asPseudonyms(process.env["TIERMESH_CALLERS"]),
  });
  const refusals = followRefusals(client, optional);
  try {
    return await body(client);
  } catch (cause) {
    const [first] = refusals;
    throw first === undefined ? cause : forbidden(first, cause);
  } finally {
    await client.close();
  }
}

/** As the gateway's setting of the same name. @throws MeshError `bad_config` */
function asPseudonyms(said = ""): boolean {
  if (!["", "plain", "pseudonym"].includes(said))
    throw new MeshError("bad_config", "TIERMESH_CALLERS: plain or pseudonym", { field: "TIERMESH_CALLERS" });
  return said === "pseudonym";
}

/** What the broker refuses this connection, in order. */
function followRefusals({ bus }: MeshClient, optional: (subject: string) => boolean): PermissionViolationError[] {
  const refusals: PermissionViolationError[] = [];
  void (async () => {
    for await (const status of bus.nc.status())
      if (
        status.type === "error" &&
        status.error instanceof PermissionViolationError &&
        !optional(status.error.subject)
      )
        refusals.push(status.error);
  })();
  return refusals;
}

function forbidden({ operation, subject }: PermissionViolationError, cause: unknown): MeshError {
  const what = operation === "publish" ? "say" : "hear";
  const duty = "with separate duties TIERMESH_DUTY=security or =inspector has the others";
  return new MeshError("forbidden", `your key may not ${what} ${subject} on this bus (${duty})`, { cause });
}
