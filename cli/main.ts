import { Command } from "commander";
import { VERSION } from "../service/version.ts";
import { COMMANDS } from "./commands/index.ts";
import { runProgram } from "./program.ts";

const program = new Command("tiermesh")
  .description("Send each AI job to the right machine, prove that it went there, and keep secret data at home.")
  .version(VERSION);
for (const add of COMMANDS) add(program);
await runProgram(program);
