import { writeFileSync } from "node:fs";
import path from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { tempDir } from "../../test/kit/temp-dir.ts";
import { checkFormat, programKind } from "./executable-format.ts";

/** The first bytes of each format, as its specification has them. */
function elf(machine: number): Buffer {
  const head = Buffer.alloc(64);
  head.set([0x7f, 0x45, 0x4c, 0x46, 2, 1]);
  head.writeUInt16LE(machine, 18);
  return head;
}
function macho(cpu: number): Buffer {
  const head = Buffer.alloc(64);
  head.writeUInt32LE(0xfeedfacf, 0);
  head.writeUInt32LE(cpu, 4);
  return head;
}
function pe(machine: number, at = 0x80): Buffer {
  const head = Buffer.alloc(256);
  head.write("MZ", 0, "latin1");
  head.writeUInt32LE(at, 0x3c);
  if (at < 250) head.write("PE\0\0", at, "latin1");
  if (at < 250) head.writeUInt16LE(machine, at + 4);
  return head;
}

test.each([
  [elf(0x3e), { platform: "linux", arch: "x64" }],
  [elf(0xb7), { platform: "linux", arch: "arm64" }],
  [macho(0x01000007), { platform: "darwin", arch: "x64" }],
  [macho(0x0100000c), { platform: "darwin", arch: "arm64" }],
  [pe(0x8664), { platform: "win32", arch: "x64" }],
  [pe(0xaa64), { platform: "win32", arch: "arm64" }],
  [elf(0x28), undefined],
  [macho(7), undefined],
  [pe(0x8664, 0xfffffff0), undefined],
  [Buffer.from("#!/bin/sh\n"), undefined],
  [Buffer.alloc(4096), undefined],
  [Buffer.alloc(0), undefined],
])("a program is known by its first bytes (%#)", (head, kind) => {
  expect(programKind(head)).toEqual(kind);
});

test("a program for another system is refused, and said to be for which", async () => {
  const folder = tempDir("tiermesh-format-");
  onTestFinished(() => folder.remove());
  const file = path.join(folder.path, "agent");
  writeFileSync(file, macho(0x0100000c));
  await expect(checkFormat(file, "linux", "x64")).rejects.toMatchObject({
    code: "bad_config",
    field: "from",
    message: expect.stringMatching(/a program for darwin arm64, and this machine is linux x64/),
  });
  await expect(checkFormat(`${file}.not`, "linux", "x64")).rejects.toMatchObject({ code: "bad_config" });
  writeFileSync(file, elf(0x3e));
  await checkFormat(file, "linux", "x64");
});
