import { Connections } from "../../../cli/bus/connections.ts";
import type { Connection } from "../world/connection.ts";
import type { Proc } from "../world/world.ts";
import { Member, quietLog } from "./parts.ts";

/** The part of the broker's keeper that tells the routers of lost connections. */
export class SimKeeper extends Member {
  protected override live(proc: Proc, { bus }: Connection): void {
    const nodeOf = (name: string) => (name.startsWith("node-") ? name : undefined);
    new Connections({ bus, nodeOf, log: quietLog(proc, this.around.history) }).start();
  }

  override async stop(): Promise<void> {
    await this.connection?.bus.drain();
  }

  override leftovers(): string[] {
    return [];
  }
}
