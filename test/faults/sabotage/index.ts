import type { Msg } from "@nats-io/nats-core";
import { CONTENT_TYPES, HEADERS, type NodeRecord } from "../../../bus-schemas/index.ts";
import { Intake, type IntakeParts } from "../../../agent/intake.ts";
import type { Ask } from "../../../agent/model/admission.ts";
import { RuntimeDesk } from "../../../agent/runtime-desk.ts";
import type { RuntimeState } from "../../../agent/runtimes/runtime.ts";
import { Dispatcher } from "../../../router/dispatcher.ts";
import { FleetView } from "../../../router/fleet-view.ts";
import type { RouterParts } from "../../../router/parts.ts";
import type { Bus } from "../../../service/bus.ts";
import { encode } from "../../../service/codec.ts";
import type { EventPublisher } from "../../../service/events.ts";
import type { Spool } from "../../../service/spool.ts";
import type { Plan } from "../mesh/plan.ts";
import { Sabotage } from "../mesh/sabotage.ts";

/** A bus on which what comes in on some subjects is changed; undefined = it does not come. */
function hearing(bus: Bus, change: (msg: Msg) => Msg | undefined): Bus {
  return {
    ...bus,
    listen: (subject, handler, queue) =>
      bus.listen(
        subject,
        (msg) => {
          const heard = change(msg);
          if (heard !== undefined) handler(heard);
        },
        queue,
      ),
  };
}

const isCancel = ({ subject }: Msg) => subject.includes(".job.cancel.");

/** The audit gate lets everything pass at once. */
class RunsUnrecorded extends Sabotage {
  override dispatcher(parts: RouterParts): Dispatcher {
    const dispatcher = new Dispatcher(parts);
    Object.assign(dispatcher.gate, { pass: async () => undefined });
    return dispatcher;
  }
}

class DoubleDesk extends RuntimeDesk {
  override enqueue(...[job]: Parameters<RuntimeDesk["enqueue"]>): void {
    super.enqueue(job);
    super.enqueue(job);
  }
}

class StartsTwice extends Sabotage {
  override runtimeDesk(...args: ConstructorParameters<typeof RuntimeDesk>): RuntimeDesk {
    return new DoubleDesk(...args);
  }
}

class BottomlessDesk extends RuntimeDesk {
  override seats(model: string) {
    const seats = super.seats(model);
    return seats === undefined ? undefined : { ...seats, running: 0, queued: 0 };
  }
}

class NeverFull extends Sabotage {
  override runtimeDesk(...args: ConstructorParameters<typeof RuntimeDesk>): RuntimeDesk {
    return new BottomlessDesk(...args);
  }
}

class WideDesk extends RuntimeDesk {
  override update(states: readonly RuntimeState[]): boolean {
    return super.update(
      states.map(({ record, models }) => ({ record: { ...record, slots: record.slots * 2 }, models })),
    );
  }
}

class Overbooks extends Sabotage {
  override runtimeDesk(...args: ConstructorParameters<typeof RuntimeDesk>): RuntimeDesk {
    return new WideDesk(...args);
  }
}

class BlindIntake extends Intake {
  override admit(...[facts, ask, answer, verdicts]: Parameters<Intake["admit"]>) {
    const blind: Ask = { ...ask, headerClass: undefined, bodyClass: undefined };
    return super.admit(facts, blind, answer, verdicts);
  }
}

/** What header and body of a job say of its class is not looked at on the node. */
class ClassBlind extends Sabotage {
  override intake(parts: IntakeParts): Intake {
    return new BlindIntake(parts);
  }
}

/** Numbers of frames are not looked at. */
class IgnoresNumbers extends Sabotage {
  override callerBus(bus: Bus): Bus {
    return hearing(bus, (msg) => {
      if (msg.headers?.get(HEADERS.contentType) !== CONTENT_TYPES.sealed) msg.headers?.delete(HEADERS.seq);
      return msg;
    });
  }
}

class BootBlindView extends FleetView {
  override onHeartbeat(record: NodeRecord, nowMs: number): void {
    super.onHeartbeat({ ...record, boot_id: "always the same" }, nowMs);
  }
}

class ForgetsBoots extends Sabotage {
  override fleetView(events: EventPublisher): FleetView {
    return new BootBlindView(events);
  }
}

class HopefulView extends FleetView {
  override onLost(): void {}
}

/** Jobs of a lost node are waited for, even beyond their deadline. */
class NeverGivesUp extends Sabotage {
  override fleetView(events: EventPublisher): FleetView {
    return new HopefulView(events);
  }

  override dispatcher(parts: RouterParts): Dispatcher {
    const dispatcher = new Dispatcher(parts);
    Object.assign(dispatcher.handOver, { endOverdue: () => undefined });
    return dispatcher;
  }
}

class DeafToCancels extends Sabotage {
  override agentBus(bus: Bus): Bus {
    return hearing(bus, (msg) => (isCancel(msg) ? undefined : msg));
  }
}

/** A try that was superseded is ended and recorded as one that was cancelled. */
class ForgetsSupersede extends Sabotage {
  override agentBus(bus: Bus): Bus {
    return hearing(bus, (msg) => (isCancel(msg) ? { ...msg, data: new Uint8Array() } : msg));
  }
}

/** Whatever its router says, the job is this node's. */
class TakesItForGranted extends Sabotage {
  override agentBus(bus: Bus): Bus {
    return hearing(bus, (msg) =>
      msg.subject.includes(".go.") ? { ...msg, data: encode({ go: true }, "shared") } : msg,
    );
  }
}

/** Both nodes of a hedged job may tell their answers. */
class LetsBothTell extends Sabotage {
  override dispatcher(parts: RouterParts): Dispatcher {
    const dispatcher = new Dispatcher(parts);
    Object.assign(dispatcher.hedges, { mayTell: () => true });
    return dispatcher;
  }
}

/** A job that was handed back is gone on with, whatever its node has told meanwhile. */
class TakesUnasked extends Sabotage {
  override dispatcher(parts: RouterParts): Dispatcher {
    const dispatcher = new Dispatcher(parts);
    const ask: Dispatcher["takeBacks"]["ask"] = (_token, _to, _stands, then) => then(true);
    Object.assign(dispatcher.takeBacks, { ask });
    return dispatcher;
  }
}

/** What an agent could not record before its death is lost. */
class LosesItsSpool extends Sabotage {
  override agentSpool(spool: Spool): Spool {
    const forgets = { put: () => undefined, settle: () => undefined, leftovers: [], broken: false };
    return { ...forgets, close: () => spool.close() } as unknown as Spool;
  }
}

/** Every answer's end is said twice. */
class SaysItTwice extends Sabotage {
  override agentBus(bus: Bus): Bus {
    const publish: Bus["nc"]["publish"] = (subject, data, options) => {
      bus.nc.publish(subject, data, options);
      const clear = Buffer.from(typeof data === "string" ? data : (data ?? [])).toString("latin1");
      if (subject.startsWith("_INBOX.hand.") && clear.includes('"type":"end"')) bus.nc.publish(subject, data, options);
    };
    return { ...bus, nc: { ...bus.nc, publish } as Bus["nc"] };
  }
}

/** Ways in which production code could be wrong, and the rule that must notice it. */
export const SABOTAGES: readonly {
  name: string;
  make: () => Sabotage;
  foundBy: string;
  /** What seeds are to do more of, so that few are enough; without it they find it too, only later. */
  plan?: Partial<Plan>;
}[] = [
  {
    name: "a router that dispatches before the record is durable",
    make: () => new RunsUnrecorded(),
    foundBy: "P0 and P1 reach a node only after the record of that is durable",
  },
  {
    name: "a desk that starts a job twice",
    make: () => new StartsTwice(),
    foundBy: "a finished answer is what one run of that very job said",
  },
  {
    name: "a node that is never full",
    make: () => new NeverFull(),
    foundBy: "a node never takes more than its slots and queue places",
    plan: { burst: true, jobs: 80 },
  },
  {
    name: "a desk that believes in twice the slots",
    make: () => new Overbooks(),
    foundBy: "a node never runs more than its slots",
  },
  {
    name: "an intake that does not look at what a job says of its class",
    make: () => new ClassBlind(),
    foundBy: "no run on a layer that its class forbids",
    plan: { faults: ["forger"], faultCount: 12 },
  },
  {
    name: "a client that does not look at the numbers of frames",
    make: () => new IgnoresNumbers(),
    foundBy: "a finished answer is what one run of that very job said",
    plan: { faults: ["cut"], faultCount: 12 },
  },
  {
    name: "a router that does not tell one boot of a node from the next",
    make: () => new ForgetsBoots(),
    foundBy: "a fresh job finishes after the healing",
  },
  {
    name: "a router that waits for the jobs of a lost node",
    make: () => new NeverGivesUp(),
    foundBy: "a request by hand has its ending when nobody but nodes crashed",
    plan: { faults: ["agent crash"], faultCount: 12, byHand: 0.6 },
  },
  {
    name: "a node that hears no cancels",
    make: () => new DeafToCancels(),
    foundBy: "a cancelled job stops",
    plan: { faults: [], faultCount: 0, cancels: 0.5 },
  },
  {
    name: "a node that takes a superseded try for a cancelled one",
    make: () => new ForgetsSupersede(),
    foundBy: "a job that finished and that nobody cancelled is not recorded as cancelled",
    plan: { faults: ["stall"], faultCount: 20, callers: 1 },
  },
  {
    name: "an agent without a spool",
    make: () => new LosesItsSpool(),
    foundBy: "what a caller was told has finished is recorded as finished, once by that decision",
    plan: { faults: ["agent crash", "audit silent"], faultCount: 20 },
  },
  {
    name: "a node that is late and tells its answer all the same",
    make: () => new TakesItForGranted(),
    foundBy: "at most one ending for a request by hand, and nothing after it",
    plan: { faults: ["pause"], faultCount: 20, byHand: 0.6 },
  },
  {
    name: "a router that lets both nodes of a hedged job tell",
    make: () => new LetsBothTell(),
    foundBy: "at most one ending for a request by hand, and nothing after it",
    plan: { hedgeAfterMs: 60, byHand: 0.6, faults: [], faultCount: 0 },
  },
  {
    name: "a router that goes on with what was handed back without asking",
    make: () => new TakesUnasked(),
    foundBy: "at most one ending for a request by hand, and nothing after it",
    plan: { faults: ["pause"], faultCount: 20, byHand: 0.8, manners: { fails: 0.6, hangs: 0, slow: 0.3, bursts: 0 } },
  },
  {
    name: "a node that says each ending twice",
    make: () => new SaysItTwice(),
    foundBy: "at most one ending for a request by hand, and nothing after it",
  },
];
