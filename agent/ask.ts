import {
  HEADERS,
  MeshError,
  isDataClass,
  meantClass,
  type DataClass,
  type JobRequest,
  type Layer,
} from "../bus-schemas/index.ts";
import type { JobFacts } from "./job.ts";
import type { Ask } from "./model/admission.ts";

/**
 * What admission is asked about a job that was read.
 * @throws MeshError `bad_request` when its header names no class: whoever sends jobs to a node writes it exactly, so one that
 * cannot be read is a fault or a trick, whatever it was meant to say.
 */
export function askOf({ dataClass, declared, deadlineMs }: JobFacts, layer: Layer): Ask {
  const { header, body } = declared;
  if (header !== undefined && !isDataClass(header))
    throw new MeshError("bad_request", "Mesh-Class: not P0, P1 or P2", { field: HEADERS.dataClass });
  return { subjectClass: dataClass, headerClass: header, bodyClass: bodyClassOf(body, layer), deadlineMs };
}

/**
 * The class that the caller itself declared. One that is no class counts as the one it looks like; what it is otherwise is
 * the policy's to say, which an agent does not know, and what leaves the house is not taken on such a word.
 */
function bodyClassOf(declared: string | undefined, layer: Layer): DataClass | undefined {
  if (declared === undefined) return undefined;
  if (isDataClass(declared)) return declared;
  return layer === "L2" ? "P0" : meantClass(declared);
}

/** What a body declares; an empty text declares nothing, as an empty header does. */
export function bodyDeclares({ security_level: declared }: JobRequest): string | undefined {
  return declared === "" ? undefined : declared;
}

/** Whether an error says that a job's class keeps it from running: no everyday refusal, so it is recorded. */
export function isAboutClass({ code }: { code: string }): boolean {
  return code === "forbidden" || code === "anonymiser_required";
}
