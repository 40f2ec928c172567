import type { Decision } from "../../bus-schemas/index.ts";
import { table } from "./table.ts";

/** A decision for people: the sentence, and each candidate with its score terms or the filter that removed it. */
export function formatDecision(decision: Decision): string {
  const lines = [decision.reason];
  if (decision.tool.tool !== "model")
    lines.push(`tool ${decision.tool.tool}, data ${decision.tool.data_residency}: ${decision.tool.reason}`);
  if (decision.candidates.length > 0) {
    const rows = decision.candidates.map(({ node_id, layer, model, rejected, score }) => {
      const chosen = node_id === decision.node_id && model === decision.model ? "→" : " ";
      const terms =
        score === null
          ? ["", "", "", "", "", ""]
          : [score.total, score.security, score.capability, score.latency, score.cost]
              .map((term) => term.toFixed(2))
              .concat(`${Math.round(score.predicted_ms)} ms`);
      return [
        chosen,
        node_id,
        layer,
        model ?? "",
        ...terms,
        rejected === null ? "" : `${rejected.filter}: ${rejected.reason}`,
      ];
    });
    lines.push(table([["", "node", "layer", "model", "score", "S", "C", "L", "K", "expected", "removed by"], ...rows]));
  }
  const hidden = decision.candidates_total - decision.candidates.length;
  if (hidden > 0)
    lines.push(
      `… and ${hidden} more: ${
        Object.entries(decision.rejected_by)
          .map(([filter, count]) => `${filter} removed ${count}`)
          .join(", ") || "not drawn"
      }`,
    );
  lines.push(`class ${decision.security_level} · policy ${decision.policy_revision}`);
  return lines.join("\n");
}
