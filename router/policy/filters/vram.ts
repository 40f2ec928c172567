import type { Filter } from "../types.ts";

/**
 * GPU memory that the job asks for, and that the registry asks for a model that is not loaded yet. A loaded model has
 * its memory already; a node that does not know its memory is not held back, and a sick GPU counts for nothing; an egress node (L2) needs none itself.
 */
export const vram: Filter = {
  name: "vram",
  reject({ view, served, layer }, { vramGb }, { policy }) {
    if (layer === "L2") return undefined;
    const forModel = served.loaded === false ? policy.models.get(served.name)?.requirements.vram_gb : undefined;
    const needGb = Math.max(vramGb ?? 0, forModel ?? 0);
    if (needGb === 0) return undefined;
    let totalGb = 0;
    for (const gpu of view.record.hardware.gpus) {
      if (gpu.sick !== null) continue;
      if (gpu.vram_total_gb === null) return undefined;
      totalGb += gpu.vram_total_gb;
    }
    return totalGb < needGb ? `needs ${needGb} GB of GPU memory, has ${Math.round(totalGb)}` : undefined;
  },
};
