import { readFileSync, readdirSync, readlinkSync } from "node:fs";

/** State LISTEN in /proc/net/tcp (include/net/tcp_states.h), and of a UDP socket that is bound to nobody. */
const LISTEN = "0A";
const UDP_UNCONNECTED = "07";

/** Sockets of these processes on which others may reach them over a network, as `tcp 0100007F:1F90`, in the kernel's own hexadecimals. */
export function listeningSockets(pids: readonly number[]): string[] {
  const inodes = new Set(pids.flatMap(socketInodes));
  return ["tcp", "tcp6", "udp", "udp6"].flatMap((table) => {
    const open = table.startsWith("tcp") ? LISTEN : UDP_UNCONNECTED;
    const rows = readFileSync(`/proc/net/${table}`, "utf8").split("\n").slice(1);
    return rows.flatMap((row) => {
      const [, local = "", , state, , , , , , inode = ""] = row.trim().split(/\s+/);
      return state === open && inodes.has(inode) ? [`${table} ${local}`] : [];
    });
  });
}

/** 127.0.0.0/8, ::1, and 127.0.0.0/8 as IPv6 has it; words of four bytes in the machine's order, which is little-endian here. */
export function isLoopbackSocket(socket: string): boolean {
  const [address = ""] = (socket.split(" ")[1] ?? "").split(":");
  if (address.length === 8) return address.endsWith("7F");
  return address === "00000000000000000000000001000000" || /^0{16}FFFF0000.{6}7F$/.test(address);
}

function socketInodes(pid: number): string[] {
  return readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
    try {
      return /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1] ?? [];
    } catch {
      return []; // closed meanwhile
    }
  });
}
