import { Command } from "commander";
import { VERSION } from "../../service/version.ts";
import { runProgram } from "../program.ts";
import { addAgentVerbs } from "./verbs.ts";

/** The command line of the single executable: `tiermesh agent` as a program of its own. */
const program = new Command("tiermesh-agent")
  .description("This machine as a node of a mesh: one file, no Node needed.")
  .version(VERSION);
addAgentVerbs(program);
await runProgram(program);
