import { randomBytes } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { MeshError } from "../../bus-schemas/index.ts";

export interface BusCredentials {
  user: string;
  password: string;
}

/**
 * The bus's user and password, kept in `file` (mode 0600; on Windows the folder's own permissions guard it), made at the
 * first start: 256 random bits.
 * @throws MeshError `bad_config` naming the file when its content is not credentials; the content is not quoted.
 */
export async function keptCredentials(file: string): Promise<BusCredentials> {
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    const fresh = { user: "tiermesh", password: randomBytes(32).toString("base64url") };
    await writeFile(file, `${JSON.stringify(fresh)}\n`, { mode: 0o600, flag: "wx" });
    return fresh;
  }
  const kept = parse(text);
  if (kept === undefined)
    throw new MeshError("bad_config", `${file} does not hold bus credentials; delete it to get new ones`);
  return kept;
}

function parse(text: string): BusCredentials | undefined {
  try {
    const { user, password } = JSON.parse(text) as Partial<Record<string, unknown>>;
    const plain = (value: unknown): value is string => typeof value === "string" && /^[A-Za-z0-9_.-]+$/.test(value);
    return plain(user) && plain(password) ? { user, password } : undefined;
  } catch {
    return undefined;
  }
}
