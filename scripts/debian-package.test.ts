import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import path from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { tempDir } from "../test/kit/temp-dir.ts";
import { ar, buildDebianPackage, debianVersion } from "./debian-package.ts";

const OPTIONS = { version: "1.2.0-rc.1", arch: "x64", timeSeconds: 1_700_000_000 };

function here(): string {
  const folder = tempDir("tiermesh-deb-test-");
  onTestFinished(() => folder.remove());
  writeFileSync(path.join(folder.path, "program"), "a program");
  return folder.path;
}

test("an archive's members begin at even bytes, each behind its header of 60", () => {
  const bytes = ar(
    [
      ["a", Buffer.from("odd")],
      ["b", Buffer.from("even")],
    ],
    7,
  );
  expect(bytes.toString("latin1")).toBe(
    `!<arch>\na               7           0     0     100644  3         \`\nodd\nb               7           0     0     100644  4         \`\neven`,
  );
});

test("a pre-release sorts before its release", () => {
  expect([debianVersion("1.2.0-rc.1"), debianVersion("1.2.0")]).toEqual(["1.2.0~rc.1", "1.2.0"]);
});

test.skipIf(spawnSync("dpkg-deb", ["--version"]).status !== 0)(
  "dpkg reads the package; everything in it is root's, and its scripts are shell",
  () => {
    const out = here();
    const file = buildDebianPackage({ ...OPTIONS, program: path.join(out, "program"), out });
    expect(path.basename(file)).toBe("tiermesh-agent_1.2.0~rc.1_amd64.deb");
    const dpkg = (...args: string[]) => {
      const { status, stdout, stderr } = spawnSync("dpkg-deb", args, { encoding: "utf8" });
      expect([status, stderr]).toEqual([0, ""]);
      return stdout;
    };
    expect(dpkg("--field", file, "Package", "Version", "Architecture")).toBe(
      "Package: tiermesh-agent\nVersion: 1.2.0~rc.1\nArchitecture: amd64\n",
    );
    const files = dpkg("--contents", file).trim().split("\n");
    expect(files.filter((line) => !line.includes(" 0/0 "))).toEqual([]);
    expect(files.find((line) => line.endsWith("./usr/bin/tiermesh-agent"))).toMatch(/^-rwxr-xr-x/);
    expect(files.find((line) => line.endsWith("tiermesh-agent.service"))).toMatch(/^-rw-r--r--/);
    const control = path.join(out, "control");
    dpkg("--control", file, control);
    for (const script of ["postinst", "prerm", "postrm"])
      expect([script, spawnSync("sh", ["-n", path.join(control, script)]).status]).toEqual([script, 0]);
  },
);

test.skipIf(process.platform !== "linux")("the same program makes the same package", () => {
  const [one, other] = [here(), here()];
  const build = (out: string) => buildDebianPackage({ ...OPTIONS, program: path.join(out, "program"), out });
  expect(spawnSync("cmp", [build(one), build(other)]).status).toBe(0);
});
