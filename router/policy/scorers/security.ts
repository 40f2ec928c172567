import type { DataClass, Layer } from "../../../bus-schemas/index.ts";
import type { Scorer } from "../types.ts";

/**
 * How well a layer suits a class (SEED 数据分级匹配度): data of a stricter class scores higher the fewer machines and
 * people it meets. Layers that a class may not use never get here; the table gives them 0 all the same.
 */
const MATCH: Record<DataClass, Record<Layer, number>> = {
  P0: { L0: 1, L1: 0.95, L2: 0 },
  P1: { L0: 1, L1: 0.95, L2: 0.3 },
  P2: { L0: 1, L1: 1, L2: 0.8 },
};

export const security: Scorer = { name: "security", score: ({ layer }, { dataClass }) => MATCH[dataClass][layer] };
