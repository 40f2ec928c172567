import type { Layer } from "../../bus-schemas/index.ts";
import { workMs } from "./predict.ts";
import type { Option, RouteRequest } from "./types.ts";

/**
 * Power of a machine at work on a job, where it does not say, watts, by layer. L0: NVIDIA gives the RTX 4060 Laptop GPU of SEED's case one
 * 35–115 W, Apple ships the 16-inch MacBook Pro of case two with a 140 W supply. L1: NVIDIA's H20 has a limit of 400 W.
 * L2: none of ours, the provider's price has it in. Orders of magnitude; a GPU that tells its limit replaces them.
 */
const ASSUMED_WATTS: Record<Layer, number> = { L0: 120, L1: 400, L2: 0 };
/** Watt-milliseconds in a kilowatt-hour. */
const WATT_MS_PER_KWH = 3.6e9;

/**
 * Power of a node at work on one job, watts: the enforced limit of one of its GPUs, the largest, else the layer's. A GPU
 * that generates runs near its limit. What processor and memory take is left out, and so is that slots share a GPU: were
 * the power divided by them, of two equal idle nodes the one that promises more slots would win every job.
 */
export function wattsAtWork({ view, layer }: Option): number {
  if (layer === "L2") return ASSUMED_WATTS.L2;
  let watts = 0;
  for (const gpu of view.record.hardware.gpus) watts = Math.max(watts, gpu.power_limit_watts ?? 0);
  return watts > 0 ? watts : ASSUMED_WATTS[layer];
}

/** SEED 电力成本 (kWh/request): the power over the time that the model works on the job. */
export function kwhOfJob(option: Option, request: RouteRequest): number {
  return (wattsAtWork(option) * workMs(option, request)) / WATT_MS_PER_KWH;
}
