import { EXIT, examples, type CommandModule } from "../command.ts";
import type { Finding } from "../doctor/check.ts";
import { CHECKS } from "../doctor/index.ts";
import { green, print, printJson, yellow } from "../format/terminal.ts";

export const doctor: CommandModule = (program) => {
  program
    .command("doctor")
    .description("look for what keeps the mesh from working, and say what to do")
    .option("--json", "as JSON")
    .addHelpText("after", examples("tiermesh doctor", "tiermesh doctor --json"))
    .action(async (flags: { json?: boolean }) => {
      const findings = [];
      for (const { name, check } of CHECKS) {
        const finding = { name, ...(await check(process.env).catch(broken)) };
        findings.push(finding);
        if (flags.json === true) continue;
        const mark = finding.level === "ok" ? green("ok  ") : yellow(finding.level === "warn" ? "warn" : "FAIL");
        print(`${mark}  ${name.padEnd(14)} ${finding.says}`);
        if (finding.todo !== undefined) print(`      ${"".padEnd(14)} → ${finding.todo}`);
      }
      if (flags.json === true) printJson(findings);
      process.exitCode = findings.some(({ level }) => level === "fail") ? EXIT.failed : EXIT.ok;
    });
};

/** A check that fails itself hides none of the others. */
function broken(error: unknown): Finding {
  return {
    level: "warn",
    says: `could not be looked at: ${error instanceof Error ? error.message : "unexpected error"}`,
  };
}
