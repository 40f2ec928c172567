import type { Probe } from "../probe.ts";
import { CARDS_ARGS, gpusOfCards } from "./rocm-cards.ts";
import { createSmiProbe } from "./smi-probe.ts";

/** Hygon DCUs by `hy-smi --json`, which speaks as rocm-smi does. */
export function createHygonProbe(): Probe {
  return createSmiProbe({
    vendor: "hygon",
    brand: "Hygon DCU",
    tool: { name: "hy-smi", programs: ["hy-smi", "/opt/hyhal/bin/hy-smi", "/usr/local/hyhal/bin/hy-smi"] },
    args: CARDS_ARGS,
    read: (stdout) => gpusOfCards("hy-smi", stdout),
  });
}
