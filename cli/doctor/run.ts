import { EXIT } from "../command.ts";
import { green, print, printJson, yellow } from "../format/terminal.ts";
import type { Check, Finding } from "./check.ts";

/** Runs the checks in order and shows what each found. @returns the exit code */
export async function runChecks(checks: readonly Check[], env: NodeJS.ProcessEnv, json: boolean): Promise<number> {
  const findings = [];
  for (const { name, check } of checks) {
    const finding = { name, ...(await check(env).catch(broken)) };
    findings.push(finding);
    if (json) continue;
    const mark = finding.level === "ok" ? green("ok  ") : yellow(finding.level === "warn" ? "warn" : "FAIL");
    print(`${mark}  ${name.padEnd(14)} ${finding.says}`);
    if (finding.todo !== undefined) print(`      ${"".padEnd(14)} → ${finding.todo}`);
  }
  if (json) printJson(findings);
  return findings.some(({ level }) => level === "fail") ? EXIT.failed : EXIT.ok;
}

/** A check that fails itself hides none of the others. */
function broken(error: unknown): Finding {
  return {
    level: "warn",
    says: `could not be looked at: ${error instanceof Error ? error.message : "unexpected error"}`,
  };
}
