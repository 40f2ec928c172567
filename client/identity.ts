import { z } from "zod";
import { Caller, MeshError, parseOrThrow, type CallerInput, type JobRequestInput } from "../bus-schemas/index.ts";
import type { SaltKeeper } from "../service/salts.ts";

/** For whom jobs are, and how that is told. */
export interface IdentityOptions {
  /** For whom jobs are that say nothing else. */
  caller?: CallerInput | undefined;
  /**
   * Salts of callers, on this machine: a job that has a caller then brings a commitment salt of that one's. Without them nodes make
   * a salt for each job and hand it over with its end (`commitment_salt` of the result).
   */
  salts?: SaltKeeper | undefined;
  /** The mesh hears pseudonyms, which say nothing any more once the salt is erased; needs `salts`. */
  pseudonyms?: boolean;
}

const WithCaller = z.object({ caller: Caller });

/** Puts on each job for whom it is, and the salt of that one for it. */
export class Identity {
  readonly #options: IdentityOptions;

  constructor(options: IdentityOptions) {
    this.#options = options;
  }

  /**
   * @param said for whom this one is; else the request itself says it, else who was named at the start
   * @throws MeshError `bad_request` naming the field; `bad_config` for a damaged salt; `audit_unavailable` when none can be read or made
   */
  async on(request: JobRequestInput, jobId: string, said?: CallerInput): Promise<JobRequestInput> {
    const { salts, pseudonyms = false } = this.#options;
    const given = said ?? request.caller ?? this.#options.caller;
    if (given === undefined) return request;
    const { caller } = parseOrThrow(WithCaller, { caller: given });
    if (salts === undefined) return { ...request, caller };
    try {
      const salt = request.commitment_salt ?? (await salts.jobSalt(caller.id, jobId));
      return { ...request, caller: pseudonyms ? await hidden(caller, salts) : caller, commitment_salt: salt };
    } catch (cause) {
      if (cause instanceof MeshError) throw cause;
      // Without it the job would be on record in a way that its caller was promised it is not.
      const why = (cause as NodeJS.ErrnoException).code ?? "unknown";
      throw new MeshError("audit_unavailable", `the salt of the caller can be neither read nor made (${why})`, {
        cause,
      });
    }
  }
}

async function hidden(caller: Caller, salts: SaltKeeper): Promise<Caller> {
  if (caller.pseudonyms) return caller;
  const parties = caller.on_behalf_of.map(async ({ id, kind }) => ({ id: await salts.pseudonym(id), kind }));
  return {
    ...caller,
    id: await salts.pseudonym(caller.id),
    on_behalf_of: await Promise.all(parties),
    pseudonyms: true,
  };
}
