import { InvalidArgumentError, type Command } from "commander";
import { MAX_DELEGATION, MeshError, Party, partyOf, type CallerInput } from "../bus-schemas/index.ts";

export interface CallerFlags {
  caller?: Party;
  onBehalfOf?: Party[];
}

/** `--caller` and `--on-behalf-of`: for whom a job is. */
export function withCaller(command: Command): Command {
  return command
    .option("--caller <id>", "for whom it is, for the record: alice, service:crm, agent:planner", party)
    .option("--on-behalf-of <list>", "for whom that caller acts, the nearest first: service:crm,alice", parties);
}

/** What the flags say. @throws MeshError `bad_request` for a chain without a caller */
export function callerOf({ caller, onBehalfOf }: CallerFlags): { caller?: CallerInput } {
  if (caller !== undefined) return { caller: { ...caller, on_behalf_of: onBehalfOf ?? [] } };
  if (onBehalfOf === undefined) return {};
  throw new MeshError("bad_request", "--on-behalf-of: says for whom a caller acts; name that one with --caller", {
    field: "on_behalf_of",
  });
}

/** @throws InvalidArgumentError, which is shown with the flag's name */
function party(text: string): Party {
  const checked = Party.safeParse(partyOf(text));
  if (checked.success) return checked.data;
  throw new InvalidArgumentError(checked.error.issues[0]?.message ?? "not a caller");
}

function parties(text: string): Party[] {
  const all = text.split(",").map((each) => party(each.trim()));
  if (all.length > MAX_DELEGATION) throw new InvalidArgumentError(`at most ${MAX_DELEGATION}`);
  return all;
}
