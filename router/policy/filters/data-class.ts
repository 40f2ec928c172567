import type { Filter } from "../types.ts";

/**
 * SEED 数据分级标准: each class has its layers. P0 never runs on L2 and P1 there only anonymised, whatever a policy says:
 * those two are promises of the product, not settings.
 */
export const dataClass: Filter = {
  name: "data_class",
  reject({ layer }, { dataClass: level, anonymised }, { policy }) {
    if (level === "P0" && layer === "L2") return "P0 never leaves L0 and L1";
    if (layer === "L2" && policy.cloudForbidden) return "the policy forbids the cloud (cloud_forbidden)";
    const rules = policy.routing.security[level];
    if (level === "P1" && layer === "L2") {
      if (!anonymised) return "P1 reaches L2 only anonymised";
      return rules.cloud_if_anonymized && !rules.forbidden_layers.includes("L2")
        ? undefined
        : "the policy keeps P1 off L2";
    }
    if (rules.forbidden_layers.includes(layer)) return `the policy forbids ${layer} for ${level}`;
    return rules.allowed_layers.includes(layer) ? undefined : `the policy does not allow ${layer} for ${level}`;
  },
};
