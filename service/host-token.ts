import { hostname } from "node:os";

/** This host's first name as a subject token: what a process is called where nobody gave it a name. */
export function hostToken(): string {
  const name = (hostname().split(".")[0] ?? "").replace(/[^A-Za-z0-9_-]/g, "-").slice(0, 64);
  return name === "" ? "node" : name;
}
