import { statfs } from "node:fs/promises";
import { availableParallelism, freemem, totalmem } from "node:os";
import { dirname } from "node:path";
import { cacheDir } from "../../service/paths.ts";
import type { Check } from "./check.ts";

const GB = 1024 ** 3;
/** The first model and its runtime take about 0.7 GB; less than this leaves no room for logs. */
const ENOUGH_DISK_GB = 2;

export const node: Check = {
  name: "node",
  check: async () => {
    const major = Number(process.versions.node.split(".")[0]);
    return major >= 24
      ? { level: "ok", says: `Node ${process.versions.node}` }
      : {
          level: "fail",
          says: `Node ${process.versions.node} is too old`,
          todo: "run through `npm start` or `npx tiermesh`, which bring Node 24",
        };
  },
};

export const machine: Check = {
  name: "machine",
  check: async () => ({
    level: freemem() < GB ? "warn" : "ok",
    says: `${availableParallelism()} CPU cores, ${(freemem() / GB).toFixed(1)} of ${(totalmem() / GB).toFixed(1)} GB memory free, ${process.platform} ${process.arch}`,
  }),
};

export const disk: Check = {
  name: "disk",
  check: async (env) => {
    const folder = await firstExisting(cacheDir({ env }));
    const { bavail, bsize } = await statfs(folder);
    const freeGb = (bavail * bsize) / GB;
    const says = `${freeGb.toFixed(1)} GB free for models in ${cacheDir({ env })}`;
    return freeGb >= ENOUGH_DISK_GB
      ? { level: "ok", says }
      : { level: "warn", says, todo: "free some space, or set TIERMESH_CACHE_DIR to a larger disk" };
  },
};

async function firstExisting(folder: string): Promise<string> {
  try {
    await statfs(folder);
    return folder;
  } catch {
    const parent = dirname(folder);
    return parent === folder ? folder : firstExisting(parent);
  }
}
