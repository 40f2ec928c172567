import { Intake, type IntakeParts } from "../../../agent/intake.ts";
import { RuntimeDesk } from "../../../agent/runtime-desk.ts";
import { Dispatcher } from "../../../router/dispatcher.ts";
import { FleetView } from "../../../router/fleet-view.ts";
import type { RouterParts } from "../../../router/parts.ts";
import type { Bus } from "../../../service/bus.ts";
import type { EventPublisher } from "../../../service/events.ts";
import type { Spool } from "../../../service/spool.ts";

/** Where a simulated mesh takes its production parts from. As it stands they are what they should be; see test/faults/sabotage. */
export class Sabotage {
  routerBus(bus: Bus): Bus {
    return bus;
  }
  agentBus(bus: Bus): Bus {
    return bus;
  }
  callerBus(bus: Bus): Bus {
    return bus;
  }
  agentSpool(spool: Spool): Spool {
    return spool;
  }
  fleetView(events: EventPublisher): FleetView {
    return new FleetView(events);
  }
  dispatcher(parts: RouterParts): Dispatcher {
    return new Dispatcher(parts);
  }
  runtimeDesk(...args: ConstructorParameters<typeof RuntimeDesk>): RuntimeDesk {
    return new RuntimeDesk(...args);
  }
  intake(parts: IntakeParts): Intake {
    return new Intake(parts);
  }
}
