import type { CommandModule } from "../command.ts";
import { agent } from "./agent.ts";
import { audit } from "./audit.ts";
import { bus } from "./bus.ts";
import { demo } from "./demo.ts";
import { doctor } from "./doctor.ts";
import { jobs } from "./jobs.ts";
import { model } from "./model.ts";
import { node } from "./node.ts";
import { nodes } from "./nodes.ts";
import { policy } from "./policy.ts";
import { quality } from "./quality.ts";
import { release } from "./release.ts";
import { route } from "./route.ts";
import { run } from "./run.ts";
import { simulate } from "./simulate.ts";
import { status } from "./status.ts";
import { submit } from "./submit.ts";
import { up } from "./up.ts";
import { upgrade } from "./upgrade.ts";
import { version } from "./version.ts";
import { witness } from "./witness.ts";

/** Every command of `tiermesh`, in the order of its `--help`. */
export const COMMANDS: readonly CommandModule[] = [
  up,
  status,
  nodes,
  node,
  model,
  agent,
  release,
  upgrade,
  run,
  submit,
  jobs,
  route,
  policy,
  quality,
  simulate,
  audit,
  witness,
  bus,
  demo,
  doctor,
  version,
];
