import { alternatives } from "./role-expectations.ts";

const NODES = "{gpu-1,pc-1,cloud-1,new-1}";
const STREAMS =
  "{AUDIT,KV_tiermesh-policy-main,KV_tiermesh-quality-main,KV_tiermesh-nodes-main,KV_tiermesh-sleep-main,KV_tiermesh-auditor-main,RELEASES,JOBS,JOB_STATES,JOB_RESULTS,JOB_LETTERS,OTHER}";
const TYPES =
  "{job_decided,class_mismatch,job_redispatched,job_ended,node_joined,node_left,node_lost,node_woken,node_ejected,node_controlled,node_upgraded,release_changed,policy_changed,policy_rejected,message_rejected,node_admitted,process_started,job_queued,job_requeued,job_dead,letter_filed,letter_dropped,job_run_ended,counts_reported,audit_gap,stream_changed,audit_writer_changed,audit_problem,audit_pruned,witness_changed,quality_changed,key_changed,record_exported,canary,made_up}";
const SOURCES =
  "{router.router-1,agent.gpu-1,agent.cloud-1,agent.pc-1,auditor.auditor,auditor.auditor-2,auditor.two,gateway.gateway,keeper.host,operator.me}";

/** Subjects of the whole bus contract, of JetStream and of the server itself: one of each kind, and near misses. */
export const SUBJECTS: readonly string[] = [
  ...new Set(
    [
      `mesh.main.heartbeat.{L0,L1,L2}.${NODES}`,
      "mesh.main.job.submit.{chat,rag}",
      "mesh.main.job.route",
      `mesh.main.job.{run,sealed}.{P0,P1,P2,none}.${NODES}`,
      `mesh.main.job.verdict.router-1.${NODES}.7`,
      "mesh.main.job.{cancel.j1,status,withdraw,status.x,withdraw.j1}",
      "mesh.main.queue.{work.rag.j1,state.j1,result.j1.7,letter.rag.j1,desk.list,desk.requeue}",
      "mesh.main.queue{,.work,.work.rag,.work.rag.j1.x,.state,.state.j1.x,.result.j1,.letter.rag,.desk,.desk.list.x,.other}",
      "mesh.main.router.key.router-1",
      `mesh.main.node.{control,magic}.${NODES}`,
      "mesh.main.node{,.wake,.wake.gpu-1,.magic,.magic.gpu-1.x}",
      `mesh.main.node.gone.${NODES}`,
      "mesh.main.release{,.lock,.lock.x,.version.1_4_0,.version.1_4_0.x,.file.ab.0,.file.ab,.file.ab.0.x,.get,.get.gpu-1.x,.other}",
      `mesh.main.release.get.${NODES}`,
      "mesh.main.advisory.{connect,disconnect,other}",
      "mesh.main.registry.{add,revoke,list,reader,other}",
      `mesh.main.registry.join.${NODES}`,
      `mesh.main.event.${TYPES}.{P0,P1,P2,none}.${SOURCES}`,
      "mesh.main.audit.{query,stats,receipt,export,other}",
      "mesh.main.alert.{warning.slow,critical.audit_gap}",
      "mesh.main.codec.0a1b2c3d",
      // One token more or less than the contract has.
      "mesh.main.heartbeat{,.L1,.L1.gpu-1.x,.L1.gpu-1.x.y}",
      "mesh.main.job{,.submit,.submit.chat.x,.route.x,.run.P0,.run.P0.gpu-1.x,.run.P2.cloud-1.x,.sealed.P2.cloud-1.x}",
      "mesh.main.job{.verdict.router-1.gpu-1,.verdict.router-1.gpu-1.7.x,.cancel,.cancel.j1.x,.cancel.j1.x.y}",
      "mesh.main{,.router.key,.router.key.r.x,.node.control,.node.control.gpu-1.x,.node.gone,.node.gone.gpu-1.x,.advisory,.advisory.connect.x,.registry,.registry.join.new-1.x}",
      "mesh.main{.event,.event.job_ended.P2,.event.job_ended.P2.agent.gpu-1.x,.codec,.codec.v.x,.alert.warning,.other}",
      // A neighbour on the same broker.
      "mesh.{other,mainx}.{heartbeat.L1.gpu-1,job.submit.chat,job.run.P2.gpu-1,registry.add,audit.query,codec.0a1b2c3d}",
      `$JS.API.STREAM.{CREATE,UPDATE,DELETE,PURGE,INFO,MSG.GET,MSG.DELETE,SNAPSHOT,RESTORE,LEADER.STEPDOWN}.${STREAMS}`,
      `$JS.API.CONSUMER.{CREATE,LIST,NAMES}.${STREAMS}`,
      `$JS.API.CONSUMER.{CREATE,DURABLE.CREATE,DELETE,INFO,MSG.NEXT,PAUSE}.${STREAMS}.{auditor,auditor-2,rag,evil,siem-1}`,
      "$JS.API.CONSUMER.CREATE.{JOBS,JOB_STATES,JOB_RESULTS}.rag.mesh.main.queue.work.rag.x",
      "$JS.ACK.{JOBS.rag.1.2.3.4.5,JOB_STATES.rag.1.2.3.4.5}",
      "$JS.API.CONSUMER.CREATE.AUDIT.auditor.mesh.main.event.x",
      `$JS.API.DIRECT.GET.${STREAMS}{,.some.subject}`,
      "$JS.API.{INFO,STREAM.LIST,STREAM.NAMES,SERVER.REMOVE,ACCOUNT.PURGE.MESH}",
      "$JS.{ACK.AUDIT.auditor.1.2.3.4.5,ACK.AUDIT.auditor-2.1.2.3.4.5,ACK.AUDIT.evil.1.2.3.4.5,ACK.AUDIT.siem-1.1.2.3.4.5,ACK.OTHER.auditor.1.2.3.4.5,EVENT.ADVISORY.API,EVENT.ADVISORY.STREAM.DELETED.AUDIT,EVENT.ADVISORY.API.x,FC.x}",
      "$KV.tiermesh-{policy-main,quality-main,nodes-main,sleep-main,auditor-main,policy-other}.{routing,gpu-1,head,a.b}",
      "$SYS.{REQ.SERVER.PING,REQ.ACCOUNT.MESH.CONNZ,REQ.USER.INFO,ACCOUNT.MESH.CONNECT,SERVER.x.STATSZ}",
      "$SRV.{PING,INFO,STATS}{,.tiermesh-router,.tiermesh-router.id,.tiermesh-agent.id,.tiermesh-auditor,.other,.tiermesh-agent.id.x}",
      "$SRV.{PING,STATS}.tiermesh-{gateway,monitor}{,.id,.id.x}",
      "_INBOX{,.tool,.tool.1,.own,.own.x,.own.x.1.2}",
      "other{,.subject}",
    ].flatMap(alternatives),
  ),
];

/** What somebody curious subscribes to: each subject, each with a wildcard in each place, cut short and one level deeper. */
export function curious(subjects: readonly string[]): string[] {
  const all = new Set([
    ">",
    "*",
    "*.>",
    "*.*.>",
    "mesh.>",
    "mesh.main.>",
    "mesh.*.>",
    "$JS.>",
    "$KV.>",
    "$SYS.>",
    "_INBOX.>",
  ]);
  for (const subject of subjects) {
    const tokens = subject.split(".");
    all.add(subject).add(`${subject}.*`).add(`${subject}.>`);
    for (const i of tokens.keys()) {
      all.add([...tokens.slice(0, i), ">"].join("."));
      all.add(tokens.with(i, "*").join("."));
      all.add([...tokens.slice(0, i), ...tokens.slice(i).map(() => "*")].join("."));
    }
  }
  return [...all];
}
