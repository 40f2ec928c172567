import { MeshError } from "../../bus-schemas/index.ts";
import type { DeclaredClasses } from "../runtimes/runtime.ts";

/**
 * The last wall before a cloud (DESIGN promise 1, wall four): in the thread that alone holds the providers' keys, and in a
 * file that shares nothing with the router's filter or the agent's admission, so that no one mistake takes two of them down.
 * It does not weigh what was declared. Only what says P2 in every place that says anything goes out, and the subject, which
 * the broker guards, must be one of them.
 * @param declared what came from the other thread; it is not believed to have the shape that it should
 * @throws MeshError `anonymiser_required` when P1 and nothing else stands in the way, else `forbidden`; without a word of it
 */
export function passGate(declared: Partial<DeclaredClasses> | undefined): void {
  const { subject, header, body, ticket } = declared ?? {};
  const said = [subject, ...[header, body, ticket].filter((place) => place !== undefined)];
  const inTheWay = said.filter((place) => place !== "P2");
  if (inTheWay.length === 0) return;
  if (inTheWay.every((place) => place === "P1"))
    throw new MeshError("anonymiser_required", "the egress gate: P1 goes to a cloud only anonymised", {
      field: "security_level",
    });
  throw new MeshError("forbidden", "the egress gate: only what is P2 in every place goes to a cloud", {
    field: "security_level",
  });
}
