import { contextFor } from "./context.ts";
import type { Fleet } from "./fleet.ts";
import { hash32 } from "./hash.ts";
import { freeWeight, type Place, type Pool } from "./pool.ts";
import { jobsOn, reportedJobs, slotsOf } from "./predict.ts";
import { rejection } from "./reject.ts";
import { totalScore } from "./score.ts";
import { sessionHome } from "./session-home.ts";
import type { DecisionContext, Option, Policy, RouteRequest } from "./types.ts";

/**
 * Nodes that are scored at most. More choices see more but send all routers to the same nodes when what they know is old.
 * Measured with docs/simulation.md's commands (20 unequal nodes, 90 % load, 10 routers, heartbeats of 5 s), p99 of the
 * end-to-end time: 2 choices 31.3 s, 3 29.5 s, 4 29.4 s, 8 28.0 s, all 20 27.9 s.
 */
export const CHOICES = 8;
/** A layer of so many nodes is looked through; of a larger one nodes are drawn from the index. */
const SCAN_UP_TO = 16;
/** Draws from a large layer; where they find fewer than two fit nodes, it is looked through after all. */
const MAX_DRAWS = 48;

/** Where a job goes, and among what that was chosen. */
export interface Pick {
  option: Option;
  /** The best option of each node that was scored, the picked one among them. */
  drawn: readonly Option[];
  /** Nodes that the draw was from: those that passed the filters, or all of the layer where it was only sampled. */
  from: { nodes: number; filtered: boolean };
}

/** Which nodes of a layer are scored. */
export type Draw = (
  pool: Pool,
  context: DecisionContext,
) => { places: readonly Place[]; home: Place | undefined; from: Pick["from"] };

export interface PickInContext {
  pick: Pick | undefined;
  context: DecisionContext;
}

/**
 * The decision without its explanation. Pure: the same inputs give the same pick, and it is the one that `decide` explains.
 * @param random uniform numbers in [0,1)
 * @returns undefined when no node can take the job
 */
export function pickNode(
  request: RouteRequest,
  fleet: Fleet,
  policy: Policy,
  nowMs: number,
  random: () => number,
): Pick | undefined {
  return pickInContext(request, fleet, policy, nowMs, random).pick;
}

/** The same with what the filters looked at, which an explanation needs. */
export function pickInContext(
  request: RouteRequest,
  fleet: Fleet,
  policy: Policy,
  nowMs: number,
  random: () => number,
): PickInContext {
  return pickBy((pool, context) => draw(pool, request, context, random), request, fleet, policy, nowMs);
}

/** A pick by another draw than the random one, as a replay makes it. */
export function pickBy(draw: Draw, request: RouteRequest, fleet: Fleet, policy: Policy, nowMs: number): PickInContext {
  const context = contextFor(request, fleet, policy, nowMs);
  if (context.strategy === "cloud_spillover") {
    const inTime = pickFrom(request, fleet, { ...context, inTimeOnly: true }, draw);
    if (inTime.pick !== undefined) return inTime;
  }
  const picked = pickFrom(request, fleet, context, draw);
  if (picked.pick !== undefined || !fleet.hasDiagnostic || realModelLater(request, fleet, context)) return picked;
  return pickFrom(request, fleet, { ...context, diagnosticAllowed: true }, draw);
}

/** A real model would take the job if it were not full, slow or tried just now: an echo is no answer to that. */
function realModelLater(request: RouteRequest, fleet: Fleet, context: DecisionContext): boolean {
  for (const option of fleet.options()) {
    if (option.diagnostic) continue;
    const filter = rejection(option, request, context)?.filter;
    if (filter?.momentary === true) return true;
  }
  return false;
}

/**
 * The first layer with survivors; within it some nodes drawn by free capacity, of which the highest score wins: taking the
 * best score of all off stale heartbeats herds (DESIGN §3).
 */
function pickFrom(request: RouteRequest, fleet: Fleet, context: DecisionContext, draw: Draw): PickInContext {
  for (const layer of context.layers) {
    const pool = fleet.pool(layer, request.model);
    if (pool === undefined || pool.places.length === 0) continue;
    const { places, home, from } = draw(pool, context);
    const atHome = home === undefined ? context : { ...context, home: home.view };
    const drawn = places.map((place) => bestOn(place, request, atHome)).filter((each) => each !== undefined);
    const option = best(drawn, request, atHome);
    if (option !== undefined) return { pick: { option, drawn, from }, context: atHome };
  }
  return { pick: undefined, context };
}

function draw(pool: Pool, request: RouteRequest, context: DecisionContext, random: () => number): ReturnType<Draw> {
  const fits = (place: Place) => fitsAt(place, request, context);
  const home = request.sessionId === undefined ? undefined : sessionHome(request.sessionId, pool, fits, context);
  if (pool.places.length > SCAN_UP_TO) {
    const places = sample(pool, home, fits, context, random);
    if (places.length >= 2) return { places, home, from: { nodes: pool.places.length, filtered: false } };
  }
  const survivors = pool.places.filter(fits);
  const from = { nodes: survivors.length, filtered: true };
  const places = survivors.length <= CHOICES ? survivors : drawSome(survivors, home, context, random);
  return { places, home, from };
}

/** Whether any of a node's models in a pool can take the job. */
export function fitsAt({ options }: Place, request: RouteRequest, context: DecisionContext): boolean {
  return options.some((option) => rejection(option, request, context) === undefined);
}

/** Fitting nodes, by free capacity as of the last heartbeat, corrected for what was sent since. */
function sample(
  pool: Pool,
  home: Place | undefined,
  fits: (place: Place) => boolean,
  context: DecisionContext,
  random: () => number,
): Place[] {
  const found: Place[] = home === undefined ? [] : [home];
  for (let i = 0; i < MAX_DRAWS && found.length < CHOICES; i++) {
    const place = pool.draw(random);
    if (place === undefined) break;
    if (found.includes(place)) continue;
    const { view } = place;
    if (view.dispatchedSinceHeartbeat > 0) {
      const kept = currentWeight(place, context) / freeWeight(slotsOf(view), reportedJobs(view));
      if (random() >= kept) continue;
    }
    if (fits(place)) found.push(place);
  }
  return found;
}

/** By free capacity, without replacement. */
function drawSome(
  survivors: readonly Place[],
  home: Place | undefined,
  context: DecisionContext,
  random: () => number,
): Place[] {
  const drawn = home === undefined ? [] : [home];
  const rest = survivors.filter((place) => place !== home);
  while (drawn.length < CHOICES) {
    const next = drawOne(rest, context, random);
    if (next === undefined) break;
    drawn.push(next);
    rest.splice(rest.indexOf(next), 1);
  }
  return drawn;
}

function drawOne(places: readonly Place[], context: DecisionContext, random: () => number): Place | undefined {
  const weights = places.map((place) => currentWeight(place, context));
  let rest = random() * weights.reduce((sum, weight) => sum + weight, 0);
  return places.find((_, i) => (rest -= weights[i] ?? 0) < 0) ?? places.at(-1);
}

function currentWeight({ view }: Place, context: DecisionContext): number {
  return freeWeight(slotsOf(view), jobsOn(view, context));
}

/** The best of a fitting node's models that can take the job. */
function bestOn({ options }: Place, request: RouteRequest, context: DecisionContext): Option | undefined {
  if (options.length === 1) return options[0];
  return best(
    options.filter((option) => rejection(option, request, context) === undefined),
    request,
    context,
  );
}

/** The highest score; equal ones by a hash of job and node, so that the same inputs give the same answer. */
function best(options: readonly Option[], request: RouteRequest, context: DecisionContext): Option | undefined {
  if (options.length <= 1) return options[0];
  let winner: Option | undefined;
  let winnerScore = -1;
  for (const option of options) {
    const score = totalScore(option, request, context);
    if (score < winnerScore) continue;
    if (winner !== undefined && score === winnerScore && tie(option, request) <= tie(winner, request)) continue;
    winner = option;
    winnerScore = score;
  }
  return winner;
}

function tie({ view, served }: Option, { jobId }: RouteRequest): number {
  return hash32(`${jobId} ${view.record.node_id} ${served.name}`);
}
