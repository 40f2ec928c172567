import type { Filter } from "../types.ts";

/** The caller's model, and the layers that the registry (SEED 模型能力注册表) allows it on. */
export const model: Filter = {
  name: "model",
  reject({ served, layer }, { model: wanted }, { policy }) {
    if (wanted !== undefined && served.name !== wanted) return `serves ${served.name}`;
    const layers = policy.models.get(served.name)?.layers;
    return layers === undefined || layers.includes(layer)
      ? undefined
      : `the registry does not allow ${served.name} on ${layer}`;
  },
};
