import type { NodeRecordInput } from "../../bus-schemas/index.ts";
import { FleetView } from "../../router/fleet-view.ts";
import { FakeEvents, nodeRecord } from "./router-parts.ts";

/** Wanted time between two sweeps, milliseconds. */
const SWEEP_MS = 100;

/** A fleet view with its own clock; `beat` is a heartbeat, `pass` lets time go by with its sweeps. */
export function watched() {
  const events = new FakeEvents();
  let nowMs = 1_000_000;
  let wallAheadMs = 0;
  const view = new FleetView(events as never, { wallMs: () => nowMs + wallAheadMs, steadyMs: () => nowMs });
  const lost: string[] = [];
  view.onLost((nodeId) => lost.push(nodeId));
  const back: string[] = [];
  view.onBack((nodeId) => back.push(nodeId));
  const beat = (nodeId: string, overrides: Partial<NodeRecordInput> = {}) =>
    view.onHeartbeat(nodeRecord(nodeId, overrides), view.nowMs());
  const pass = (ms: number) => {
    for (const end = nowMs + ms; nowMs < end;) {
      nowMs = Math.min(end, nowMs + SWEEP_MS);
      view.sweep(view.nowMs());
    }
  };
  const jump = (ms: number) => {
    nowMs += ms;
    view.sweep(view.nowMs());
  };
  const setClock = (ms: number) => (wallAheadMs = ms);
  const gone = (nodeId: string) => view.onDisconnected(nodeId, view.nowMs());
  const node = (nodeId: string) => view.fleet.view(nodeId);
  const types = () => events.seen.map(({ type }) => type);
  return { view, events, lost, back, beat, pass, jump, setClock, gone, node, types };
}
