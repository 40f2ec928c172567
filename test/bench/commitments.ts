import path from "node:path";
import { JobCommitments } from "../../agent/job-commitments.ts";
import { JobRequest, parseOrThrow, type DeltaFrame } from "../../bus-schemas/index.ts";
import { encode } from "../../service/codec.ts";
import { SaltKeeper } from "../../service/salts.ts";
import { tempDir } from "../kit/temp-dir.ts";
import type { Bench, Report } from "./bench.ts";
import { paired } from "./harness.ts";
import { chatJob } from "./samples.ts";

const TIMES = 1000;
const JOB_ID = "01K9ZQ6V3M8N5T2R7W4X1Y0ABC";
/** Two kilobytes each way, the answer in pieces as a model writes it. */
const INPUT = [{ role: "user" as const, content: "What does the maintenance manual say of the pump? ".repeat(40) }];
const PIECES = Array.from({ length: 170 }, (): DeltaFrame => ({ type: "delta", content: " maintenance" }));

/** What the commitments of a job cost where they are made, against what its agent and gateway do for it anyway. */
export const commitments: Bench = { summary: "commitments of a job of 2 KB: the agent's part and the gateway's", run };

async function run(report: Report): Promise<void> {
  const request = parseOrThrow(
    JobRequest,
    chatJob({ messages: INPUT, commitment_salt: Buffer.alloc(32, 7).toString("base64url") }),
  );
  const { commitment_salt: _, ...unsalted } = request;
  const frames = () => {
    for (const piece of PIECES) encode(piece, "shared");
  };
  const committed = (job: JobRequest) => {
    const made = new JobCommitments(job);
    for (const piece of PIECES) {
      encode(piece, "shared");
      made.take(piece);
    }
    if (made.done(null).answer_hmac === undefined) throw new Error("nothing was committed to");
  };
  const alone = (job: JobRequest) => {
    const made = new JobCommitments(job);
    for (const piece of PIECES) made.take(piece);
    if (made.done(null).answer_hmac === undefined) throw new Error("nothing was committed to");
  };
  report.add(
    await paired(`the agent: an answer of ${PIECES.length} pieces`, {
      "encoding the pieces": () => repeat(frames),
      "encoding and committing": () => repeat(() => committed(request)),
      "committing alone": () => repeat(() => alone(request)),
      "the same, with a salt of its own": () => repeat(() => alone(unsalted)),
    }),
  );
  const folder = tempDir("tiermesh-bench-salts-");
  const salts = new SaltKeeper(path.join(folder.path, "salts"));
  await salts.jobSalt("alice", JOB_ID);
  report.add(
    await paired("the gateway: the salt of a caller for a job, from its file", {
      "encoding the job": () => repeat(() => encode(request, "shared")),
      "reading and deriving": async () => {
        for (let i = 0; i < TIMES / 5; i++) await salts.jobSalt("alice", JOB_ID);
        return TIMES / 5;
      },
    }),
  );
  await folder.remove();
}

function repeat(work: () => unknown): number {
  for (let i = 0; i < TIMES; i++) work();
  return TIMES;
}
