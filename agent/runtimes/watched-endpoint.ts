import { MeshError } from "../../bus-schemas/index.ts";
import { httpRuntime, toState } from "./http-runtime.ts";
import type { FoundRuntime, RuntimeKind } from "./kind.ts";
import type { LearnedRates } from "./learned-rates.ts";
import { sendLoopback, type LoopbackHost, type LoopbackTarget } from "./loopback-http.ts";
import { streamJob } from "./openai-http.ts";
import { Probe, ProbeFailed, type ProbeFailure } from "./probe.ts";
import type { Runtime, RuntimeState } from "./runtime.ts";

/** Missed inspections in a row after which a runtime is gone. */
const MISSES_UNTIL_DROPPED = 3;
/** An answer that brought something this recently proves that its runtime lives. */
const ANSWER_PROVES_LIFE_MS = 5_000;

/** For the heartbeat. */
const HUNG = "does not answer";

const PROBLEMS: Readonly<Record<Exclude<ProbeFailure, "refused" | "own_gateway" | "aborted">, string>> = {
  timeout: "something listens but did not answer within 500 ms",
  too_large: "answered with more than 1 MiB",
  unauthorized: "asks for a key: name it in TIERMESH_RUNTIMES together with its token",
  broken: "answered with something that is not HTTP, or closed the connection",
};

export interface WatchedEndpointOptions {
  /** Tried in this order. */
  hosts: readonly LoopbackHost[];
  port: number;
  token?: string | undefined;
  /** An operator named it: then it is a problem when nothing answers there. */
  named: boolean;
  kinds: readonly RuntimeKind[];
  /** Slots as an operator set them, where the API does not tell. */
  slots?: number | undefined;
  rates: LearnedRates;
  now: () => number;
}

export interface EndpointReport {
  found?: { runtime: Runtime; state: RuntimeState } | undefined;
  /** For people. Without it and without a runtime there is nothing of interest. */
  problem?: string | undefined;
}

interface Current {
  kind: RuntimeKind;
  runtime: Runtime;
  state: RuntimeState;
  target: LoopbackTarget;
  misses: number;
}

/** One port of this machine, watched over many inspections: what runs there, and whether it still does. */
export class WatchedEndpoint {
  readonly label: string;
  readonly #options: WatchedEndpointOptions;
  readonly #memory = new Map<string, unknown>();
  #current: Current | undefined;
  #lastAnswerMs = Number.NEGATIVE_INFINITY;

  constructor(options: WatchedEndpointOptions) {
    this.#options = options;
    this.label = `http://${options.hosts[0] === "::1" ? "[::1]" : options.hosts[0]}:${options.port}`;
  }

  /** Never throws. After an abort it answers what it knew. */
  async inspect(signal: AbortSignal): Promise<EndpointReport> {
    let failure: ProbeFailure = "refused";
    for (const host of this.#options.hosts) {
      const target: LoopbackTarget = { host, port: this.#options.port, token: this.#options.token };
      try {
        const probe = new Probe(target, this.#memory);
        const found = await this.#identify(probe, signal);
        if (found === undefined) return await this.#unknownServer(probe, signal);
        return this.#keep(found.kind, found.found, target);
      } catch (error) {
        failure = error instanceof ProbeFailed ? error.failure : "broken";
        if (failure !== "refused") break;
      }
    }
    return this.#missed(failure);
  }

  /** The kind it was, as long as it still answers like it; else the first of the list that knows it. */
  async #identify(probe: Probe, signal: AbortSignal): Promise<{ kind: RuntimeKind; found: FoundRuntime } | undefined> {
    // Not so with the generic kind: a more specific one that came in its place knows which models are remote.
    const known = this.#current?.kind.onlyNamed === true ? undefined : this.#current?.kind;
    const kinds =
      known === undefined ? this.#options.kinds : [known, ...this.#options.kinds.filter((kind) => kind !== known)];
    for (const kind of kinds) {
      if (kind.onlyNamed === true && !this.#options.named) continue;
      const found = await kind.find(probe, signal);
      if (found !== undefined) return { kind, found };
    }
    return undefined;
  }

  #keep(kind: RuntimeKind, found: FoundRuntime, target: LoopbackTarget): EndpointReport {
    const { port, rates, now } = this.#options;
    const current = this.#current;
    const slots = this.#options.slots ?? found.slots;
    if (current?.kind === kind) {
      current.misses = 0;
      current.target = target;
      current.state = toState(current.runtime.name, kind, { ...found, slots });
      return this.#report(current);
    }
    if (current !== undefined) this.#memory.clear();
    const bareName = kind.onePerMachine && (kind.defaultPorts.length === 0 || kind.defaultPorts.includes(port));
    const name = bareName ? kind.kind : `${kind.kind}-${port}`;
    const runtime = httpRuntime({
      name,
      kind: kind.kind,
      stream: (job, signal) => streamJob(this.#current?.target ?? target, job, signal, kind.continuation),
      rates,
      now,
      inspect: async (signal) => (await this.inspect(signal)).found?.state,
      onAnswer: () => {
        this.#lastAnswerMs = now();
      },
      served: (model) => this.#current?.state.models.find((served) => served.name === model),
      manage: ({ action, model }, signal) => {
        const act = this.#current?.state.record.manages.includes(action) === true ? kind.manage?.[action] : undefined;
        if (act === undefined) throw unmanaged(kind, name, action);
        return act(this.#current?.target ?? target, model, signal);
      },
      ...(kind.alivePath === undefined ? {} : this.#watching(kind.alivePath, target)),
    });
    this.#current = { kind, runtime, state: toState(name, kind, { ...found, slots }), target, misses: 0 };
    return this.#report(this.#current);
  }

  /** Whatever it answers, it lives. */
  #watching(path: string, first: LoopbackTarget): Required<Pick<Runtime, "alive" | "hung">> {
    return {
      alive: async (signal) => {
        try {
          const response = await sendLoopback(this.#current?.target ?? first, { method: "GET", path }, signal);
          response.destroy();
          return true;
        } catch {
          return false;
        }
      },
      hung: () => {
        this.#lastAnswerMs = Number.NEGATIVE_INFINITY;
        const current = this.#current;
        if (current !== undefined) current.state = unwell(current.state, HUNG);
      },
    };
  }

  #missed(failure: ProbeFailure): EndpointReport {
    const problem = this.#explain(failure);
    const current = this.#current;
    if (current === undefined || failure === "own_gateway") {
      this.#current = undefined;
      return { problem };
    }
    const provenAlive = failure !== "refused" && this.#options.now() - this.#lastAnswerMs <= ANSWER_PROVES_LIFE_MS;
    if (failure === "aborted" || provenAlive) return this.#report(current);
    current.misses += 1;
    if (current.misses >= MISSES_UNTIL_DROPPED) {
      this.#current = undefined;
      return { problem };
    }
    current.state = unwell(current.state, HUNG);
    return { ...this.#report(current), problem };
  }

  #explain(failure: ProbeFailure): string | undefined {
    if (failure === "aborted") return undefined;
    if (failure === "refused") return this.#options.named ? "nothing listens there" : undefined;
    if (failure === "own_gateway")
      return this.#options.named ? "this is a mesh's own gateway, not a runtime" : undefined;
    return PROBLEMS[failure];
  }

  /** It answered, and as no kind that we know. What ran there before is gone. */
  async #unknownServer(probe: Probe, signal: AbortSignal): Promise<EndpointReport> {
    this.#current = undefined;
    if (this.#options.named) return { problem: "answers, but as no runtime that is known here (no /v1/models)" };
    if ((await probe.openAiModels(signal)) === undefined) return {};
    return {
      problem:
        "an unknown OpenAI-compatible server; name it in TIERMESH_RUNTIMES if it runs its models on this machine",
    };
  }

  #report(current: Current): EndpointReport {
    const { port, rates } = this.#options;
    const models = current.state.models.map((model) => rates.fill(model));
    return { found: { runtime: current.runtime, state: { ...current.state, models, port } } };
  }
}

function unmanaged({ manageByHand }: RuntimeKind, name: string, action: string): MeshError {
  const instead = manageByHand ?? "do it where the runtime was started";
  return new MeshError("not_supported", `${name} lets nobody ${action} its models by its API; ${instead}`, {
    field: "command",
  });
}

function unwell(state: RuntimeState, reason: string): RuntimeState {
  return { ...state, record: { ...state.record, healthy: false, status_reason: reason } };
}
