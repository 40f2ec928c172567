import type { RouterShares } from "../../bus-schemas/index.ts";

/** What a router said last, as far as its share matters to the others. */
export type Said = Pick<RouterShares, "view" | "used" | "orphans">;

/** The share of a cap that one of the routers in `view` has; all shares together are the cap. */
export function shareOf(cap: number, view: readonly string[], router: string): number {
  const rank = view.indexOf(router);
  if (rank < 0) return 0;
  return Math.floor(cap / view.length) + (rank < cap % view.length ? 1 : 0);
}

/**
 * How many jobs of a queue this router may have out at most. Pure. The limits of all routers together never exceed the cap,
 * whatever each has heard so far: (1) a router's limit is its smallest share by any list that it or another live router goes
 * by, so nobody takes what another has not yet let go; (2) jobs whose router is gone are taken off all shares in equal parts;
 * (3) a job that a router has above what is then left to it, from before, is taken off everyone else's.
 * @param view the routers that this one goes by, itself among them; sorted
 * @param others what each of the others in `view` said last
 * @param orphans jobs of the queue whose router is gone, as far as this router knows
 */
export function limitOf(
  queue: string,
  cap: number,
  me: string,
  view: readonly string[],
  others: ReadonlyMap<string, Said>,
  orphans: number,
): number {
  let share = shareOf(cap, view, me);
  let orphaned = orphans;
  for (const said of others.values()) {
    share = Math.min(share, shareOf(cap, said.view, me));
    orphaned = Math.max(orphaned, said.orphans[queue] ?? 0);
  }
  const part = Math.ceil(orphaned / Math.max(view.length, 1));
  let above = 0;
  for (const [router, { used }] of others)
    above += Math.max(0, (used[queue] ?? 0) - Math.max(0, shareOf(cap, view, router) - part));
  return Math.max(0, share - part - above);
}
