import type { LocalStatus } from "../../agent/local-control/protocol.ts";

/** What an agent says of itself to whoever sits at its machine, a line for each thing. */
export function describeAgent(agent: LocalStatus): string {
  const { node_id: node, layer, profile, status, status_reason: reason, owner, running, queued } = agent;
  const word = status === "healthy" ? (running >= agent.allowed_slots ? "busy" : "ready") : status;
  const others = agent.closed_by.slice(1);
  const lines = [
    ["node", `${node}, ${layer}, profile ${profile}`],
    ["program", agent.version === null ? "" : `${agent.version}, process ${agent.pid ?? "?"}`],
    ["bus", agent.bus_connected === false ? "no connection: nothing is taken until it is back" : ""],
    ["state", `${word}${reason === null ? "" : `: ${reason}`}, since ${agent.since}`],
    ["also closed by", others.join(", ")],
    ["owner", owner === null ? "" : `${owner.word}${until(owner.until)}; tiermesh agent resume takes it back`],
    ["app", agent.exclusive_app ?? ""],
    [
      "user",
      agent.user_idle_seconds === null
        ? "nobody can tell (unknown_idle in agent.yaml says what that means)"
        : `away for ${Math.round(agent.user_idle_seconds)} s`,
    ],
    ["jobs", `${running} running, ${queued} waiting, ${agent.allowed_slots} of ${agent.slots} slots may be used`],
    ["limits from", ["the profile", ...agent.files].join(", ")],
  ].filter(([, text]) => text !== "");
  const width = Math.max(...lines.map(([name = ""]) => name.length));
  return [
    ...lines.map(([name = "", text = ""]) => `${name.padEnd(width)}  ${text}`),
    ...agent.warnings.map((line) => `! ${line}`),
  ].join("\n");
}

function until(moment: string | null): string {
  return moment === null ? "" : ` until ${moment}`;
}
