import type { IncomingHttpHeaders } from "node:http";
import { Caller, MeshError, partyOf, type CallerInput } from "../bus-schemas/index.ts";
import { textOf } from "./header-text.ts";

const HEADER = "X-Tiermesh-Caller";
const CHAIN_HEADER = "X-Tiermesh-On-Behalf-Of";
/** OpenAI's fields for it: the newer one first (https://platform.openai.com/docs/api-reference/chat/create). */
const FIELDS = ["safety_identifier", "user"] as const;

/**
 * For whom a request is, as it says: by the headers `X-Tiermesh-Caller` and `X-Tiermesh-On-Behalf-Of` (a list with commas, the
 * nearest first), else by OpenAI's own field. `service:crm` and `agent:planner` say a kind; commas and other letters may be
 * percent-encoded. Undefined when it says nothing.
 * @throws MeshError `bad_request` naming the header or field
 */
export function callerOf(
  headers: IncomingHttpHeaders,
  body: Readonly<Record<string, unknown>>,
): CallerInput | undefined {
  const header = textIn(headers["x-tiermesh-caller"], HEADER);
  const chain = textIn(headers["x-tiermesh-on-behalf-of"], CHAIN_HEADER);
  const field = header === undefined ? FIELDS.find((name) => (body[name] ?? "") !== "") : undefined;
  if (header?.includes(",") === true) throw wrong(HEADER, "one caller; write a comma that is a part of it as %2C");
  const caller = header === undefined ? fieldText(body, field) : decoded(header, HEADER);
  if (caller === undefined) {
    if (chain === undefined) return undefined;
    throw wrong(CHAIN_HEADER, `says for whom a caller acts; name that one with ${HEADER}`);
  }
  const parties = chain?.split(",").map((text) => partyOf(decoded(text.trim(), CHAIN_HEADER))) ?? [];
  const said = { ...(header === undefined ? { id: caller } : partyOf(caller)), on_behalf_of: parties };
  const checked = Caller.safeParse({ ...said, declared_by: "gateway" });
  if (checked.success) return checked.data;
  const [issue] = checked.error.issues;
  throw wrong(issue?.path[0] === "on_behalf_of" ? CHAIN_HEADER : (field ?? HEADER), issue?.message ?? "not valid");
}

function textIn(header: string | string[] | undefined, name: string): string | undefined {
  if (Array.isArray(header)) throw wrong(name, "is there twice");
  return header === undefined || header.trim() === "" ? undefined : textOf(header).trim();
}

function fieldText(body: Readonly<Record<string, unknown>>, field: string | undefined): string | undefined {
  if (field === undefined) return undefined;
  const value = body[field];
  if (typeof value !== "string") throw wrong(field, "must be a string");
  return value;
}

function decoded(text: string, name: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw wrong(name, "its percent-encoding is broken");
  }
}

function wrong(field: string, message: string): MeshError {
  return new MeshError("bad_request", `${field}: ${message}`, { field });
}
