import { addAgentVerbs } from "../agent/verbs.ts";
import type { CommandModule } from "../command.ts";

export const agent: CommandModule = (program) => {
  addAgentVerbs(program.command("agent").description("this machine as a node of a mesh, and its owner's word over it"));
};
