import type { Msg } from "@nats-io/nats-core";
import { classifiedBy, declaredAs, type DataClass, type EventData, type RouteQuery } from "../bus-schemas/index.ts";
import { classHeader } from "../service/messages.ts";

/** What is recorded of how a job came to its class; its words are not, they could hold anything. */
export function declaredOf(
  msg: Msg,
  { security_level: body }: Pick<RouteQuery, "security_level">,
  dataClass: DataClass,
  fallback: DataClass | undefined,
): NonNullable<EventData<"job_decided">["declared"]> {
  const header = classHeader(msg);
  return {
    header: declaredAs(header),
    body: declaredAs(body),
    classified_by: classifiedBy([header, body], dataClass, fallback),
  };
}
