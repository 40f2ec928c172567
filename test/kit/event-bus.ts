import { connectBus, type Bus } from "../../service/bus.ts";
import { EventPublisher } from "../../service/events.ts";
import { createLog } from "../../service/log.ts";
import { startTestBus, type TestBus } from "./bus.ts";

/** A broker of a test's own, and somebody on it who records events for auditors to keep. */
export interface EventBus {
  server: TestBus;
  bus: Bus;
  events: EventPublisher;
  stop(): Promise<void>;
}

export async function startEventBus(): Promise<EventBus> {
  const server = await startTestBus();
  const log = createLog("test", "silent");
  const bus = await connectBus("test", { url: server.url, user: server.user, password: server.pass }, log);
  const events = new EventPublisher(bus, "test", "test", log);
  const stop = async () => {
    await events.close();
    await bus.drain();
    await server.stop();
  };
  return { server, bus, events, stop };
}
