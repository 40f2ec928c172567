import type { HolderName } from "./role-bus.ts";

/**
 * What each role may say and hear, written by hand from DESIGN §2 and ADR 0013, not from bus-schemas/permissions.ts: a
 * mistake there shows as a difference from this. `<inbox>` is the holder's own; `{a,b}` is either.
 */
export interface Expected {
  says: string;
  hears: string;
  /** Though `hears` has it. */
  neverHears?: string;
}

const MICRO = (name: string) =>
  `$SRV.{PING,INFO,STATS} $SRV.{PING,INFO,STATS}.tiermesh-${name} $SRV.{PING,INFO,STATS}.tiermesh-${name}.*`;
const CALLS =
  "mesh.main.job.submit.* mesh.main.job.route mesh.main.job.sealed.*.* mesh.main.job.{cancel.*,status,withdraw} mesh.main.audit.receipt mesh.main.codec.*";
/** What whoever sits at a keyboard may ask and see, with duties separate too. */
const LOOKS =
  "mesh.main.registry.list $JS.API.STREAM.{INFO,MSG.GET}.{KV_tiermesh-policy-main,KV_tiermesh-quality-main} $JS.API.INFO $SRV.>";
const SEES = "mesh.main.heartbeat.*.* mesh.main.node.gone.* mesh.main.alert.> mesh.main.codec.* <inbox>.>";
/** Whoever runs machines brings them their releases: those alone, and nobody else writes there. */
const RELEASES = "mesh.main.release.{version.*,file.*.*,lock} $JS.API.STREAM.{INFO,MSG.GET,PURGE}.RELEASES";
const READS = (bucket: string) => `$JS.API.STREAM.{INFO,MSG.GET}.KV_tiermesh-${bucket}-main`;
const agent = (layer: string, node: string, { jobs, classes }: { jobs: string; classes: string }): Expected => ({
  says: `mesh.main.heartbeat.${layer}.${node} mesh.main.job.verdict.*.${node}.*
    mesh.main.event.{job_ended,job_run_ended}.${classes}.agent.${node}
    mesh.main.event.{node_controlled,node_upgraded,message_rejected,counts_reported,key_changed}.none.agent.${node} mesh.main.codec.* _INBOX.>
    mesh.main.release.get.${node}
    mesh.main.event.{runtime_restarted,runtime_given_up,gpu_sick,gpu_well}.none.agent.${node}`,
  hears: `mesh.main.job.{run,sealed}.${jobs}.${node} mesh.main.job.cancel.* mesh.main.node.{control,magic}.${node}
    mesh.main.router.key.* mesh.main.codec.* ${MICRO("agent")} <inbox>.>`,
});

export const EXPECTED: Readonly<Record<HolderName, Expected>> = {
  router: {
    says: `mesh.main.job.run.*.* mesh.main.job.cancel.* mesh.main.router.key.* mesh.main.codec.*
      mesh.main.event.{job_decided,class_mismatch,job_redispatched,job_hedged,job_ended,job_queued,job_requeued,job_dead}.*.router.*
      mesh.main.event.{node_joined,node_left,node_lost,node_woken,node_ejected,policy_changed,policy_rejected,message_rejected,counts_reported}.none.router.*
      mesh.main.event.{letter_filed,letter_dropped,quality_changed,key_changed}.none.router.*
      mesh.main.queue.{work.*.*,state.*,result.*.*,letter.*.*} $JS.ACK.JOBS.>
      $JS.API.CONSUMER.{CREATE.JOBS.>,INFO.JOBS.*,MSG.NEXT.JOBS.*}
      $JS.API.CONSUMER.{CREATE.JOB_STATES.>,INFO.JOB_STATES.*,MSG.NEXT.JOB_STATES.*,DELETE.JOB_STATES.*}
      $JS.API.CONSUMER.{CREATE.JOB_LETTERS.>,INFO.JOB_LETTERS.*,MSG.NEXT.JOB_LETTERS.*,DELETE.JOB_LETTERS.*}
      $JS.API.STREAM.MSG.{GET.JOBS,GET.JOB_STATES,GET.JOB_RESULTS,GET.JOB_LETTERS,DELETE.JOBS,DELETE.JOB_LETTERS}
      ${READS("policy")} ${READS("quality")} ${READS("sleep")} $KV.tiermesh-sleep-main.> mesh.main.node.magic.* _INBOX.>`,
    hears: `mesh.main.job.submit.* mesh.main.node.wake mesh.main.job.{route,status,withdraw} mesh.main.queue.desk.* mesh.main.job.verdict.*.*.* mesh.main.job.cancel.*
      mesh.main.heartbeat.*.* mesh.main.node.gone.* mesh.main.router.key.* mesh.main.codec.* ${MICRO("router")} <inbox>.>`,
  },
  agent: agent("L1", "gpu-1", { jobs: "{P0,P1,P2}", classes: "*" }),
  egress: agent("L2", "cloud-1", { jobs: "P2", classes: "P2" }),
  gateway: {
    says: `${CALLS} mesh.main.event.counts_reported.none.gateway.* $SRV.PING.tiermesh-router _INBOX.>`,
    hears: `mesh.main.heartbeat.*.* mesh.main.codec.* ${MICRO("gateway")} <inbox>.>`,
  },
  auditor: {
    says: `mesh.main.event.{message_rejected,audit_gap,audit_writer_changed,audit_problem,audit_pruned,witness_changed,record_exported,canary}.none.auditor.{auditor,auditor-2}
      mesh.main.alert.*.audit_gap mesh.main.codec.* $JS.API.STREAM.INFO.AUDIT
      $JS.API.CONSUMER.{INFO,CREATE,DURABLE.CREATE,DELETE,MSG.NEXT}.AUDIT.{auditor,auditor-2}
      $JS.ACK.AUDIT.{auditor,auditor-2}.> $KV.tiermesh-auditor-main.head ${READS("auditor")}
      ${READS("policy")} _INBOX.>`,
    hears: `mesh.main.audit.{query,stats,receipt,export} $KV.tiermesh-auditor-main.head mesh.main.codec.* ${MICRO("auditor")} <inbox>.>`,
  },
  monitor: {
    says: "mesh.main.alert.*.* mesh.main.codec.* _INBOX.>",
    hears: `mesh.main.heartbeat.*.* mesh.main.node.gone.* mesh.main.event.> mesh.main.codec.* ${MICRO("monitor")}
      <inbox>.>`,
  },
  client: { says: `${CALLS} _INBOX.>`, hears: "mesh.main.codec.* <inbox>.>" },
  reader: {
    says: "$JS.API.CONSUMER.{INFO,MSG.NEXT}.AUDIT.siem-1 $JS.ACK.AUDIT.siem-1.>",
    hears: "<inbox>.>",
  },
  operator: operator(),
  tools: { ...operator(), neverHears: "_INBOX.own.>" },
  administrator: {
    says: `${CALLS} mesh.main.audit.export mesh.main.node.{control.*,wake} mesh.main.queue.desk.* $KV.tiermesh-quality-main.> ${READS("sleep")} ${RELEASES} ${LOOKS} _INBOX.>`,
    hears: SEES,
  },
  security: {
    says: `mesh.main.registry.{add,revoke,invite,decide} $KV.tiermesh-policy-main.routing mesh.main.codec.* ${LOOKS}`,
    hears: SEES,
  },
  inspector: {
    says: `mesh.main.audit.{query,stats,receipt,export} mesh.main.registry.reader $JS.API.STREAM.INFO.AUDIT $JS.API.STREAM.MSG.GET.AUDIT
      $JS.API.CONSUMER.INFO.AUDIT.{auditor,auditor-2} mesh.main.codec.* ${LOOKS}`,
    hears: `mesh.main.event.> ${SEES}`,
  },
  keeper: {
    says: `mesh.main.event.{node_admitted,process_started,message_rejected,stream_changed,release_changed}.none.keeper.* mesh.main.codec.*
      $JS.API.STREAM.{CREATE,UPDATE,INFO,MSG.GET}.{AUDIT,KV_tiermesh-policy-main,KV_tiermesh-quality-main,KV_tiermesh-nodes-main,KV_tiermesh-sleep-main,KV_tiermesh-auditor-main,RELEASES}
      $JS.API.STREAM.{CREATE,UPDATE,INFO}.{JOBS,JOB_STATES,JOB_RESULTS,JOB_LETTERS}
      $JS.API.CONSUMER.{DURABLE.CREATE.AUDIT.*,DELETE.AUDIT.*}
      $JS.API.INFO $KV.tiermesh-policy-main.routing $KV.tiermesh-nodes-main.> mesh.main.node.gone.* _INBOX.>`,
    hears: `mesh.main.registry.{add,revoke,list,invite,decide,ask,reader} mesh.main.registry.join.* mesh.main.release.{get.*,version.*} $KV.tiermesh-nodes-main.> mesh.main.codec.*
      mesh.main.advisory.{connect,disconnect} $JS.EVENT.ADVISORY.API <inbox>.>`,
  },
  join: { says: "mesh.main.registry.join.new-1", hears: "<inbox>.>" },
  invite: { says: "mesh.main.registry.ask", hears: "<inbox>.>" },
};

function operator(): Expected {
  return {
    says: `${CALLS} mesh.main.node.{control.*,wake} mesh.main.audit.{query,stats,export} mesh.main.registry.{add,revoke,list,invite,decide,reader}
      mesh.main.queue.desk.*
      $KV.tiermesh-policy-main.routing $KV.tiermesh-quality-main.> ${READS("policy")} ${READS("quality")} ${READS("sleep")} ${RELEASES}
      $JS.API.STREAM.INFO.AUDIT $JS.API.STREAM.MSG.GET.AUDIT
      $JS.API.CONSUMER.INFO.AUDIT.{auditor,auditor-2} $JS.API.INFO $SRV.> _INBOX.>`,
    hears: `mesh.main.heartbeat.*.* mesh.main.node.gone.* mesh.main.event.> mesh.main.alert.> mesh.main.codec.* <inbox>.>`,
  };
}

/** The patterns of one line of the table. */
export function patterns(line: string, inbox: string): string[] {
  return line
    .split(/\s+/)
    .flatMap((word) => alternatives(word.replace("<inbox>", inbox)))
    .filter((word) => word !== "");
}

/** `a.{b,c}.d` → `a.b.d`, `a.c.d`. */
export function alternatives(text: string): string[] {
  const found = /\{([^{}]*)\}/.exec(text);
  if (found === null) return [text];
  return (found[1] ?? "").split(",").flatMap((choice) => alternatives(text.replace(found[0], choice)));
}
