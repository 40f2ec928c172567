import path from "node:path";
import { MeshError } from "../../bus-schemas/index.ts";
import { UNFINISHED, type Disk } from "../tlog/files.ts";
import type { StorageKeys } from "./storage-keys.ts";

/** The files of a signed log that hold entries; the others hold hashes. */
export const ENTRIES_FOLDER = "tile/entries/";

/** A disk on which the entries of the log in `folder` are encrypted, and all else is as it is. */
export function sealedDisk(disk: Disk, folder: string, keys: StorageKeys): Disk {
  const bundle = (file: string) => {
    const name = path.relative(folder, file).replaceAll(path.sep, "/");
    return name.startsWith(ENTRIES_FOLDER) ? name.replace(new RegExp(`\\${UNFINISHED}$`), "") : undefined;
  };
  return {
    write: (file, data, mode) => {
      const name = bundle(file);
      return disk.write(file, name === undefined ? data : keys.seal(data, name), mode);
    },
    read: async (file) => {
      const [name, data] = [bundle(file), await disk.read(file)];
      if (name === undefined || data === undefined) return data;
      const opened = keys.open(data, name);
      if (opened === undefined)
        throw new MeshError("conflict", `${file} was changed: it cannot be decrypted; restore it`);
      return opened;
    },
    rename: (from, to) => disk.rename(from, to),
    syncFolder: (place) => disk.syncFolder(place),
    makeFolder: (place) => disk.makeFolder(place),
    list: (place) => disk.list(place),
    remove: (place) => disk.remove(place),
  };
}
