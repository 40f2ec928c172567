import { MeshError } from "../../bus-schemas/index.ts";
import type { Layout } from "./layout.ts";
import type { Machine } from "./machine.ts";
import type { Step } from "./steps.ts";

export interface Account {
  uid: number;
  gid: number;
}

/** The account's ids, or undefined when there is no such account, or the system has none of that kind (Windows). */
export async function findAccount(machine: Machine, name: string): Promise<Account | undefined> {
  if (machine.platform === "win32" || machine.root !== "") return undefined;
  const ids = await Promise.all(["-u", "-g"].map((flag) => machine.run("id", [flag, name])));
  const [uid = Number.NaN, gid = Number.NaN] = ids.map(({ code, stdout }) =>
    code === 0 ? Number(stdout) : Number.NaN,
  );
  return Number.isInteger(uid) && Number.isInteger(gid) ? { uid, gid } : undefined;
}

/** An account that nobody can log in as, and a group of its name. `onMade` hears that it was not there before. */
export function accountStep(machine: Machine, { account, stateDir }: Layout, onMade: () => void): Step {
  return {
    name: `account ${account}`,
    async take() {
      if (machine.platform === "win32" || (await exists(machine, account))) return undefined;
      if (machine.platform === "darwin") await makeOnMac(machine, account);
      else await makeOnLinux(machine, account, stateDir);
      onMade();
      return () => removeAccount(machine, account);
    },
  };
}

/** One that is not there is no error. @throws MeshError `internal` when the system keeps it */
export async function removeAccount(machine: Machine, account: string): Promise<void> {
  if (machine.platform === "win32" || !(await exists(machine, account))) return;
  const commands: [string, string[]][] =
    machine.platform === "darwin"
      ? [
          ["dscl", [".", "-delete", `/Users/${account}`]],
          ["dscl", [".", "-delete", `/Groups/${account}`]],
        ]
      : [
          ["userdel", [...prefix(machine), account]],
          ["deluser", [account]],
        ];
  let why = "";
  for (const [program, args] of commands) {
    const { code, stderr } = await machine.run(program, args);
    if (code !== 0) why = stderr.trim();
    else if (machine.platform !== "darwin") break;
  }
  if (await exists(machine, account)) throw new MeshError("internal", `the account ${account} stays: ${why}`);
}

async function exists(machine: Machine, account: string): Promise<boolean> {
  if (machine.root === "") return (await findAccount(machine, account)) !== undefined;
  const { code } = await machine.run("grep", ["-q", `^${account}:`, machine.at("/etc/passwd")]);
  return code === 0;
}

function prefix(machine: Machine): string[] {
  return machine.root === "" ? [] : ["--prefix", machine.root];
}

/** shadow's useradd, or busybox's adduser as Alpine has it. */
async function makeOnLinux(machine: Machine, account: string, home: string): Promise<void> {
  const { code, stderr } = await machine.run("useradd", [
    ...prefix(machine),
    "--system",
    "--user-group",
    "--no-create-home",
    "--home-dir",
    home,
    "--shell",
    "/usr/sbin/nologin",
    account,
  ]);
  if (code === 0) return;
  const other =
    code === null && machine.root === ""
      ? await machine.run("adduser", ["-S", "-D", "-H", "-h", home, "-s", "/sbin/nologin", account])
      : undefined;
  if (other?.code === 0) return;
  throw new MeshError("internal", `the account ${account} cannot be made: ${stderr.trim()}`, { field: "account" });
}

/** Ids of services are below 500, so that no login window shows them. Not run anywhere yet. */
async function makeOnMac(machine: Machine, account: string): Promise<void> {
  const taken = await machine.run("dscl", [".", "-list", "/Users", "UniqueID"]);
  const ids = new Set([...taken.stdout.matchAll(/(\d+)\s*$/gm)].map((found) => Number(found[1])));
  const free = Array.from({ length: 100 }, (_, count) => 499 - count).find((id) => !ids.has(id));
  if (taken.code !== 0 || free === undefined)
    throw new MeshError("internal", `the account ${account} cannot be made: ${taken.stderr.trim()}`, {
      field: "account",
    });
  const user = `/Users/${account}`;
  const group = `/Groups/${account}`;
  const entries: [string, string, string][] = [
    [group, "PrimaryGroupID", String(free)],
    [user, "UniqueID", String(free)],
    [user, "PrimaryGroupID", String(free)],
    [user, "UserShell", "/usr/bin/false"],
    [user, "NFSHomeDirectory", "/var/empty"],
    [user, "RealName", "Tiermesh agent"],
    [user, "IsHidden", "1"],
  ];
  for (const [record, key, value] of entries) {
    const { code, stderr } = await machine.run("dscl", [".", "-create", record, key, value]);
    if (code === 0) continue;
    await machine.run("dscl", [".", "-delete", user]);
    await machine.run("dscl", [".", "-delete", group]);
    throw new MeshError("internal", `the account ${account} cannot be made: ${stderr.trim()}`, { field: "account" });
  }
}
