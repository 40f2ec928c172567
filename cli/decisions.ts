import { DATA_CLASSES, Decision } from "../bus-schemas/index.ts";
import type { MeshClient } from "../client/index.ts";

/** The decisions on jobs, from the events that routers record before they dispatch. */
export class DecisionWatch implements Disposable {
  readonly #subscriptions: { unsubscribe(): void }[];
  readonly #waiting = new Map<string, PromiseWithResolvers<Decision | undefined>>();

  constructor({ bus }: MeshClient, classes: readonly (typeof DATA_CLASSES)[number][] = DATA_CLASSES) {
    this.#subscriptions = classes.map((dataClass) =>
      bus.listen(bus.subjects.eventsOf("job_decided", dataClass), (msg) => {
        const body = msg.json<{ job_id?: unknown; decision?: unknown }>();
        const decision = Decision.safeParse(body.decision);
        if (decision.success) this.#waiting.get(String(body.job_id))?.resolve(decision.data);
      }),
    );
  }

  /** From now on. Asked for once, before the job is sent. */
  expect(jobId: string): void {
    this.#waiting.set(jobId, Promise.withResolvers());
  }

  /** The decision on a job that was expected; undefined when it does not come within `limitMs`. */
  async of(jobId: string, limitMs: number): Promise<Decision | undefined> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<undefined>((resolve) => {
      timer = setTimeout(() => resolve(undefined), limitMs).unref();
    });
    const decision = await Promise.race([this.#waiting.get(jobId)?.promise, late]);
    clearTimeout(timer);
    this.#waiting.delete(jobId);
    return decision;
  }

  [Symbol.dispose](): void {
    for (const subscription of this.#subscriptions) subscription.unsubscribe();
  }
}
