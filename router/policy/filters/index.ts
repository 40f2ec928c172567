import type { Filter } from "../types.ts";
import { capability } from "./capability.ts";
import { capacity } from "./capacity.ts";
import { continuation } from "./continuation.ts";
import { contextLength } from "./context-length.ts";
import { dataClass } from "./data-class.ts";
import { deadline } from "./deadline.ts";
import { diagnostic } from "./diagnostic.ts";
import { encryption } from "./encryption.ts";
import { health } from "./health.ts";
import { layer } from "./layer.ts";
import { lease } from "./lease.ts";
import { model } from "./model.ts";
import { outlier } from "./outlier.ts";
import { slo } from "./slo.ts";
import { state } from "./state.ts";
import { temperature } from "./temperature.ts";
import { tried } from "./tried.ts";
import { vram } from "./vram.ts";

/**
 * Every filter, in the order in which they are asked; the first that removes an option is the reason shown. Security comes
 * first, then what the job needs, then how the node is, then how busy it is.
 */
export const FILTERS: readonly Filter[] = [
  dataClass,
  layer,
  encryption,
  tried,
  model,
  capability,
  continuation,
  contextLength,
  vram,
  state,
  health,
  lease,
  outlier,
  temperature,
  capacity,
  deadline,
  slo,
  diagnostic,
];
