import { LAYERS, type Layer } from "../../bus-schemas/index.ts";
import { FILTERS } from "./filters/index.ts";
import type { Fleet } from "./fleet.ts";
import { hash32 } from "./hash.ts";
import { jobsOn } from "./predict.ts";
import { totalScore } from "./score.ts";
import { sessionHome } from "./session-home.ts";
import { chooseTool } from "./tools.ts";
import type { DecisionContext, Filter, Option, RouteRequest } from "./types.ts";

/** Up to so many options a layer is looked through; beyond it options are drawn at random. */
const SCAN_UP_TO = 16;
/** Draws before a large layer is looked through after all: most of it is then full or unfit. */
const MAX_DRAWS = 24;
/** All survivors are scored when there are this many or fewer. */
const SCORE_ALL_UP_TO = 3;
/** A full node is still drawn now and then: its heartbeat may be old. */
const LEAST_WEIGHT = 0.05;

export interface Pick {
  option: Option;
  /** The options that were scored, the picked one among them. */
  drawn: readonly Option[];
  /** How many had passed the filters when they were looked at; undefined when the layer was only sampled. */
  survivors: number | undefined;
}

/** The filter that removes this option first, with its reason; undefined when it may run the job. */
export function rejection(
  option: Option,
  request: RouteRequest,
  context: DecisionContext,
): { filter: Filter; reason: string } | undefined {
  for (const filter of FILTERS) {
    const reason = filter.reject(option, request, context);
    if (reason !== undefined) return { filter, reason };
  }
  return undefined;
}

/** Layers in the policy's order, as far as the job's data may live there (level one binds level two). */
export function layersFor(request: RouteRequest, { policy }: DecisionContext): readonly Layer[] {
  const local = chooseTool(request).data_residency === "local_only";
  const order = policy.routing.defaults.fallback_order.filter((layer) => LAYERS.includes(layer));
  return local ? order.filter((layer) => layer !== "L2") : order;
}

/**
 * Where a job goes: the first layer of `fallback_order` with survivors; within it two drawn by free capacity, of which the
 * higher score wins, because the best score off stale heartbeats herds (DESIGN §3). The diagnostic echo is only taken when
 * no real model is left, or when it is asked for by name.
 */
export function pickNode(
  request: RouteRequest,
  fleet: Fleet,
  context: DecisionContext,
  random: () => number,
): Pick | undefined {
  const layers = layersFor(request, context);
  for (const diagnostic of [false, true]) {
    for (const layer of layers) {
      const { options, survivors } = draw(fleet.options(layer, request.model), diagnostic, request, context, random);
      const option = best(options, request, context);
      if (option !== undefined) return { option, drawn: options, survivors };
    }
  }
  return undefined;
}

function draw(
  list: readonly Option[],
  diagnostic: boolean,
  request: RouteRequest,
  context: DecisionContext,
  random: () => number,
): { options: Option[]; survivors: number | undefined } {
  const fits = (option: Option) =>
    option.diagnostic === diagnostic && rejection(option, request, context) === undefined;
  const home = request.sessionId === undefined ? undefined : sessionHome(request.sessionId, list, context);
  const settled = home !== undefined && fits(home) ? home : undefined;
  if (list.length > SCAN_UP_TO) {
    const sampled = sample(list, fits, settled, context, random);
    if (sampled.length >= 2) return { options: sampled, survivors: undefined };
  }
  const survivors = list.filter(fits);
  if (survivors.length <= SCORE_ALL_UP_TO) return { options: survivors, survivors: survivors.length };
  return { options: drawTwo(survivors, settled, context, random), survivors: survivors.length };
}

/** Two fitting options by uniform draws, each kept with the probability of its free share. */
function sample(
  list: readonly Option[],
  fits: (option: Option) => boolean,
  settled: Option | undefined,
  context: DecisionContext,
  random: () => number,
): Option[] {
  const found: Option[] = settled === undefined ? [] : [settled];
  for (let i = 0; i < MAX_DRAWS && found.length < 2; i++) {
    const option = list[Math.floor(random() * list.length)];
    if (option === undefined || found.includes(option)) continue;
    if (random() >= weight(option, context) / Math.max(1, option.view.record.load?.slots ?? 1)) continue;
    if (fits(option)) found.push(option);
  }
  return found;
}

/** Two by weighted drawing without replacement (Efraimidis and Spirakis 2006: the largest of random^(1/weight)). */
function drawTwo(
  survivors: readonly Option[],
  settled: Option | undefined,
  context: DecisionContext,
  random: () => number,
): Option[] {
  const keyed = survivors.map((option) => ({
    option,
    key: option === settled ? 2 : random() ** (1 / weight(option, context)),
  }));
  keyed.sort((a, b) => b.key - a.key);
  return keyed.slice(0, 2).map(({ option }) => option);
}

/** Free slots, never quite none. */
function weight(option: Option, context: DecisionContext): number {
  const slots = Math.max(1, option.view.record.load?.slots ?? 1);
  return Math.max(slots - jobsOn(option, context), LEAST_WEIGHT);
}

/** The highest score; equal ones by a hash of job and node, so that the same inputs give the same answer. */
function best(options: readonly Option[], request: RouteRequest, context: DecisionContext): Option | undefined {
  let winner: Option | undefined;
  let winnerScore = -1;
  for (const option of options) {
    const score = totalScore(option, request, context);
    if (
      winner === undefined ||
      score > winnerScore ||
      (score === winnerScore && tie(option, request) > tie(winner, request))
    ) {
      winner = option;
      winnerScore = score;
    }
  }
  return winner;
}

function tie({ view, served }: Option, { jobId }: RouteRequest): number {
  return hash32(`${jobId} ${view.record.node_id} ${served.name}`);
}
