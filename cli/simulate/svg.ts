import type { StrategyRun } from "./plan.ts";

const WIDTH = 760;
const HEIGHT = 380;
const LEFT = 60;
const TOP = 44;
const PLOT = { width: 570, height: 270 };
/** Colours of Okabe and Ito, which colour-blind people can tell apart; lighter ones on a dark ground. */
const STYLE = `<style>
text{font:12px system-ui,sans-serif;fill:#24292f}.t{font-size:14px;font-weight:600}.g{stroke:#d0d7de;stroke-width:1}
.b{fill:#fff}.l{fill:none;stroke-width:2}
.s0{stroke:#0072b2}.s1{stroke:#d55e00}.s2{stroke:#009e73}.s3{stroke:#aa4499}
.f0{fill:#0072b2}.f1{fill:#d55e00}.f2{fill:#009e73}.f3{fill:#aa4499}
@media (prefers-color-scheme:dark){text{fill:#e6edf3}.g{stroke:#3d444d}.b{fill:#0d1117}
.s0{stroke:#56b4e9}.s1{stroke:#f0a35e}.s2{stroke:#3ecfa0}.s3{stroke:#dd88cc}
.f0{fill:#56b4e9}.f1{fill:#f0a35e}.f2{fill:#3ecfa0}.f3{fill:#dd88cc}}
</style>`;
/** Points of a curve: more cannot be seen. */
const POINTS = 200;

/** Share of jobs that had ended by a time, one curve a strategy; time on a logarithmic axis. */
export function cdfSvg(title: string, runs: readonly StrategyRun[]): string {
  const ends = runs.flatMap(({ latencies: { totalMs } }) => [totalMs[0] ?? 1, totalMs.at(-1) ?? 1]);
  const low = Math.floor(Math.log10(Math.max(Math.min(...ends), 1)));
  const high = Math.max(Math.ceil(Math.log10(Math.max(...ends, 1))), low + 1);
  const x = (ms: number) => LEFT + ((Math.log10(Math.max(ms, 1)) - low) / (high - low)) * PLOT.width;
  const y = (share: number) => TOP + (1 - share) * PLOT.height;
  const decades = Array.from({ length: high - low + 1 }, (_, i) => 10 ** (low + i));
  const curves = runs.map(({ latencies: { totalMs } }, i) => {
    const points = totalMs.length === 0 ? 0 : Math.min(POINTS, totalMs.length);
    const line = Array.from({ length: points }, (_, k) => {
      const rank = Math.ceil(((k + 1) / points) * totalMs.length);
      return `${x(totalMs[rank - 1] ?? 0).toFixed(1)},${y(rank / totalMs.length).toFixed(1)}`;
    });
    return `<polyline class="l s${i % 4}" points="${line.join(" ")}"/>`;
  });
  return page(title, [
    ...decades.map((ms) => vertical(x(ms), ms >= 1000 ? `${ms / 1000} s` : `${ms} ms`)),
    ...[0, 0.25, 0.5, 0.75, 0.9, 0.99].map((share) => horizontal(y(share), `${share * 100} %`)),
    ...curves,
    ...legend(runs),
  ]);
}

/** Busy share of each node's slots: nodes in the order of the fleet file, a colour for each strategy. */
export function utilisationSvg(title: string, runs: readonly StrategyRun[]): string {
  const nodes = runs[0]?.summary.utilisation.nodes ?? [];
  const step = PLOT.width / Math.max(nodes.length, 1);
  const y = (share: number) => TOP + (1 - Math.min(share, 1)) * PLOT.height;
  const radius = Math.max(2, Math.min(4, step / 3)).toFixed(1);
  const dots = runs.flatMap(({ summary }, i) =>
    summary.utilisation.nodes.map(({ node_id: id, share }, k) => {
      const cx = (LEFT + (k + (i + 1) / (runs.length + 1)) * step).toFixed(1);
      const what = `<title>${escape(id)}: ${(share * 100).toFixed(1)} %</title>`;
      return `<circle class="f${i % 4}" cx="${cx}" cy="${y(share).toFixed(1)}" r="${radius}">${what}</circle>`;
    }),
  );
  const groups = nodes.flatMap(({ node_id: id, layer }, k) => {
    const before = nodes[k - 1];
    const begins = before === undefined || groupOf(before.node_id) !== groupOf(id);
    return begins ? [vertical(LEFT + k * step, `${layer} ${groupOf(id)}`, "start")] : [];
  });
  const lines = [0, 0.25, 0.5, 0.75, 1].map((share) => horizontal(y(share), `${share * 100} %`));
  return page(title, [...lines, ...groups, ...dots, ...legend(runs)]);
}

/** A node's id without its number. */
function groupOf(nodeId: string): string {
  return nodeId.replace(/-\d+$/, "");
}

function page(title: string, parts: readonly string[]): string {
  const label = escape(title);
  const head = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${label}">`;
  const ground = `<rect class="b" width="${WIDTH}" height="${HEIGHT}"/><text class="t" x="20" y="24">${label}</text>`;
  return `${[head, STYLE, ground, ...parts, "</svg>"].join("\n")}\n`;
}

function vertical(at: number, label: string, anchor = "middle"): string {
  const x = at.toFixed(1);
  const line = `<line class="g" x1="${x}" x2="${x}" y1="${TOP}" y2="${TOP + PLOT.height}"/>`;
  return `${line}<text x="${x}" y="${TOP + PLOT.height + 20}" text-anchor="${anchor}">${escape(label)}</text>`;
}

function horizontal(at: number, label: string): string {
  const line = `<line class="g" x1="${LEFT}" x2="${LEFT + PLOT.width}" y1="${at.toFixed(1)}" y2="${at.toFixed(1)}"/>`;
  return `${line}<text x="${LEFT - 8}" y="${(at + 4).toFixed(1)}" text-anchor="end">${label}</text>`;
}

function legend(runs: readonly StrategyRun[]): string[] {
  const x = LEFT + PLOT.width + 20;
  return runs.map(({ strategy }, i) => {
    const y = TOP + 16 + i * 22;
    return `<rect class="f${i % 4}" x="${x}" y="${y - 9}" width="14" height="10"/><text x="${x + 20}" y="${y}">${strategy}</text>`;
  });
}

function escape(text: string): string {
  return text.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);
}
