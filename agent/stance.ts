import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { z } from "zod";
import type { NodeRecord } from "../bus-schemas/index.ts";

type Status = NodeRecord["status"];

/** The reason goes into every heartbeat, so it has the bounds of the record's `status_reason`. */
const Saved = z.object({
  status: z.enum(["healthy", "cordoned", "draining", "suspended"]),
  reason: z.string().min(1).max(200).nullable(),
});

/** Whether this node takes jobs, and why not. An operator's word outlives a restart. */
export class Stance {
  readonly #file: string;
  readonly #workProblem: () => string | undefined;
  readonly #manners: () => string | undefined;
  #said: z.infer<typeof Saved>;
  #leaving = false;

  /** @param manners why nothing may be taken of this machine now (manners/) */
  constructor(
    file: string,
    workProblem: () => string | undefined,
    manners: () => string | undefined = () => undefined,
  ) {
    this.#file = file;
    this.#workProblem = workProblem;
    this.#manners = manners;
    this.#said = load(file);
  }

  get status(): { status: Status; reason: string | null } {
    if (this.#leaving) return { status: "leaving", reason: "the agent stops" };
    if (this.#said.status !== "healthy") return this.#said;
    const owners = this.#manners();
    if (owners !== undefined) return { status: "suspended", reason: owners };
    const problem = this.#workProblem();
    return problem === undefined ? { status: "healthy", reason: null } : { status: "degraded", reason: problem };
  }

  /** Why no job is taken now, or undefined. */
  get closedBecause(): string | undefined {
    const { status, reason } = this.status;
    return status === "healthy" ? undefined : `the node is ${status}${reason === null ? "" : `: ${reason}`}`;
  }

  set(status: "healthy" | "cordoned" | "draining" | "suspended", reason: string | null): void {
    this.#said = { status, reason };
    writeFileSync(`${this.#file}.new`, JSON.stringify(this.#said), { mode: 0o600 });
    renameSync(`${this.#file}.new`, this.#file);
  }

  leave(): void {
    this.#leaving = true;
  }
}

function load(file: string): z.infer<typeof Saved> {
  try {
    return Saved.parse(JSON.parse(readFileSync(file, "utf8")));
  } catch {
    // Absent at the first start; unreadable counts as nothing said.
    return { status: "healthy", reason: null };
  }
}
