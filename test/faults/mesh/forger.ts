import { HEADERS, subjects, type DataClass } from "../../../bus-schemas/index.ts";
import { encode } from "../../../service/codec.ts";
import { makeHeaders } from "../../../service/messages.ts";
import type { Message } from "../world/broker.ts";
import type { Chance } from "../world/chance.ts";
import type { Mesh } from "./mesh.ts";

/** Everything that it sends carries this, so that the checker knows whose it was. */
export const FORGED = "forged-";

/** A router gone mad, or somebody with its credentials: sends jobs where they must not run, and says again what was said. */
export class Forger {
  readonly #mesh: Mesh;
  #count = 0;

  constructor(mesh: Mesh) {
    this.#mesh = mesh;
  }

  strike(chance: Chance): void {
    const { broker } = this.#mesh;
    const { heard } = this.#mesh.observer;
    const again = chance.yes(0.5) ? heard.sealed : heard.heartbeats;
    if (again.length > 0 && chance.yes(0.6)) return broker.publish(undefined, chance.pick(again));
    broker.publish(undefined, this.#job(chance));
  }

  /** A job whose parts disagree about its class, in the wider direction, for a node that must not have it. */
  #job(chance: Chance): Message {
    const { agents, world } = this.#mesh;
    const node = chance.pick(agents.filter(({ spec }) => spec.layer === "L2").concat(chance.pick(agents)));
    const strict = chance.pick<DataClass>(["P0", "P1"]);
    const headers = makeHeaders({
      [HEADERS.contentType]: "application/json",
      [HEADERS.job]: `${FORGED}${String(this.#count++).padStart(6, "0")}`,
      [HEADERS.dataClass]: chance.pick([strict, "P2"]),
      [HEADERS.deadline]: String(Math.floor(world.wallMs + 5000)),
      [HEADERS.reply]: "_INBOX.forger.x",
      [HEADERS.model]: "tiny",
      [HEADERS.decision]: "forged",
    });
    const body = { prompt: `${FORGED}${strict} `, security_level: strict, stream: true };
    const subjectClass = chance.pick<DataClass>(["P2", strict]);
    // Same class everywhere, and a node that may hold it: then it is only a job that no router recorded.
    const subject = subjects().run(node.spec.layer === "L2" ? subjectClass : "P2", node.name);
    return { subject, data: encode(body, "json"), reply: "", headers };
  }
}
