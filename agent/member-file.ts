import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { Layer, MeshError, NodeId, SubjectToken } from "../bus-schemas/index.ts";

/** What a machine that joined knows of its mesh; the key itself is in a file of its own. */
const Member = z.object({
  v: z.literal(1),
  node_id: NodeId,
  layer: Layer,
  cell: SubjectToken,
  urls: z.array(z.string()).min(1),
  nkey_file: z.string().min(1),
  /** Authority of the bus's certificates; null where it speaks without TLS. */
  ca_file: z.string().nullable(),
  /** The invitation by which it asked, as long as no operator has let it in; null = it is in. */
  waiting: z.string().nullable().default(null),
});
export type Member = z.infer<typeof Member>;

export function writeMember(stateDir: string, member: Member): void {
  const file = memberFile(stateDir);
  writeFileSync(`${file}.new`, JSON.stringify(member, null, 2), { mode: 0o600 });
  renameSync(`${file}.new`, file);
}

/** The membership of this machine, or undefined. @throws MeshError `bad_config` naming the file when it is damaged */
export function readMember(stateDir: string): Member | undefined {
  const file = memberFile(stateDir);
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch {
    return undefined;
  }
  try {
    return Member.parse(JSON.parse(text));
  } catch (cause) {
    throw new MeshError("bad_config", `${file} is damaged; join again with a new token (tiermesh node add)`, { cause });
  }
}

function memberFile(stateDir: string): string {
  return join(stateDir, "agent", "member.json");
}
