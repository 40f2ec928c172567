import path from "node:path";
import { newId } from "../service/ids.ts";
import { DISK, replaceFiles } from "./tlog/files.ts";

/** The id of an auditor's folder, made at the first start: who has the folder (and its lock) is the same auditor. */
export async function folderHolder(folder: string): Promise<string> {
  const file = path.join(folder, "holder");
  const known = (await DISK.read(file))?.toString().trim();
  if (known !== undefined && /^[0-9A-Za-z]{20,40}$/.test(known)) return known;
  const made = newId();
  await replaceFiles(DISK, new Map([[file, Buffer.from(`${made}\n`)]]));
  return made;
}
