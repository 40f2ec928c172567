import { readdir } from "node:fs/promises";
import path from "node:path";
import { compareVersions, findVersion } from "../server-version.ts";
import type { Source } from "./source.ts";
import { BINARY_NAME, checkBinary, storeDir } from "./store.ts";

/** What an earlier start fetched or built; the newest version first. */
export const cacheSource: Source = {
  name: "cache",
  kind: "look",
  advice: "copy Tiermesh's cache folder from a machine that has one",
  async obtain({ cacheDir }, signal) {
    const entries = await readdir(storeDir(cacheDir)).catch(() => []);
    const versions = entries
      .filter((entry) => findVersion(entry) === entry)
      .sort(compareVersions)
      .reverse();
    for (const version of versions) {
      const checked = await checkBinary(path.join(storeDir(cacheDir), version, BINARY_NAME), signal);
      if (!("none" in checked)) return checked;
    }
    return { none: "nothing usable in the cache" };
  },
};
