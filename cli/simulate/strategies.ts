import type { Layer } from "../../bus-schemas/index.ts";
import { contextFor } from "../../router/policy/context.ts";
import { pickInContext } from "../../router/policy/pick.ts";
import { predictedMs } from "../../router/policy/predict.ts";
import { rejection } from "../../router/policy/reject.ts";
import { totalScore } from "../../router/policy/score.ts";
import type { Fleet } from "../../router/policy/fleet.ts";
import type { Option, Policy, RouteRequest } from "../../router/policy/types.ts";
import type { AnswerLengths } from "./answer-lengths.ts";
import type { Arrival } from "./arrivals.ts";
import type { SimNode } from "./node.ts";
import type { Random } from "./random.ts";

export interface Choice {
  nodeId: string;
  layer: Layer;
  model: string;
  /** What the router expected, milliseconds; undefined where it expected nothing. */
  predictedMs?: number;
}

/** What a strategy may look at. Only the oracle looks at the nodes themselves. */
export interface Look {
  request: RouteRequest;
  arrival: Arrival;
  fleet: Fleet;
  policy: Policy;
  nowMs: number;
  random: Random;
  nodes: ReadonlyMap<string, SimNode>;
  lengths: AnswerLengths;
}

export interface Strategy {
  /** Whether routers learn from what nodes answer them, beside the heartbeats. */
  learns: boolean;
  choose(look: Look): Choice | undefined;
}

export const STRATEGY_NAMES = ["mesh", "best", "random", "oracle"] as const;
export type StrategyName = (typeof STRATEGY_NAMES)[number];

export const STRATEGIES: Record<StrategyName, Strategy> = {
  /** The production decision. */
  mesh: {
    learns: true,
    choose({ request, fleet, policy, nowMs, random }) {
      const { pick, context } = pickInContext(request, fleet, policy, nowMs, random);
      if (pick === undefined) return undefined;
      return { ...choiceOf(pick.option), predictedMs: predictedMs(pick.option, request, context) };
    },
  },
  /** The best score of all, by heartbeats alone: what a router without DESIGN §3's step 4 would do. */
  best: {
    learns: false,
    choose({ request, fleet, policy, nowMs }) {
      const context = { ...contextFor(request, fleet, policy, nowMs), liveRouters: 0 };
      let best: { option: Option; score: number } | undefined;
      for (const option of firstLayer(fit({ request, fleet }, context), context.layers)) {
        const score = totalScore(option, request, context);
        if (best === undefined || score > best.score) best = { option, score };
      }
      return best === undefined ? undefined : choiceOf(best.option);
    },
  },
  /** Any node that is fit. */
  random: {
    learns: false,
    choose({ request, fleet, policy, nowMs, random }) {
      const context = contextFor(request, fleet, policy, nowMs);
      const options = firstLayer(fit({ request, fleet }, context), context.layers);
      const option = options[Math.floor(random() * options.length)];
      return option === undefined ? undefined : choiceOf(option);
    },
  },
  /**
   * Knows every node as it is at this moment and how fast it truly is (SimNode.foresee), but no answer's length before it
   * is written, as nobody does. Takes the node on which the job would probably end first. It keeps the policy's rules:
   * classes, models, and the layers in their order: the next one where a layer is full, or by `cloud_spillover` too slow.
   */
  oracle: {
    learns: false,
    choose({ request, arrival, fleet, policy, nowMs, nodes, lengths }) {
      const context = { ...contextFor(request, fleet, policy, nowMs), liveRouters: 0 };
      let best: { choice: Choice; firstAtMs: number; endsAtMs: number } | undefined;
      for (const layer of context.layers) {
        let inLayer: typeof best;
        for (const option of allowed({ request, fleet }, context)) {
          if (option.layer !== layer) continue;
          const seen = nodes.get(option.view.record.node_id)?.foresee(arrival, option.served.name, lengths);
          if (seen === undefined) continue;
          if (inLayer === undefined || seen.endsAtMs < inLayer.endsAtMs)
            inLayer = { choice: choiceOf(option), ...seen };
        }
        if (inLayer === undefined) continue;
        if (best === undefined || inLayer.endsAtMs < best.endsAtMs) best = inLayer;
        const spills = context.strategy === "cloud_spillover" && inLayer.firstAtMs - nowMs > request.sloMs;
        if (!spills) return inLayer.choice;
      }
      return best?.choice;
    },
  },
};

type Context = Parameters<typeof rejection>[2];

function fit({ request, fleet }: Pick<Look, "request" | "fleet">, context: Context): Option[] {
  return [...fleet.options()].filter((option) => rejection(option, request, context) === undefined);
}

/** Those that are removed at most for how busy they were at their last heartbeat. */
function allowed({ request, fleet }: Pick<Look, "request" | "fleet">, context: Context): Option[] {
  return [...fleet.options()].filter((option) => {
    if (request.exclude.has(option.view.record.node_id)) return false;
    const filter = rejection(option, request, context)?.filter;
    return filter === undefined || filter.momentary === true;
  });
}

function firstLayer(options: readonly Option[], layers: readonly Layer[]): readonly Option[] {
  for (const layer of layers) {
    const there = options.filter((option) => option.layer === layer);
    if (there.length > 0) return there;
  }
  return [];
}

function choiceOf({ view, layer, served }: Option): Choice {
  return { nodeId: view.record.node_id, layer, model: served.name };
}
