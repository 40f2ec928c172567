import { z } from "zod";
import { AUDITORS } from "../bus-schemas/index.ts";
import { BASE_ENV, BaseConfig, IntegerText, loadConfig, type Environment } from "../service/config.ts";

const AuditorConfig = BaseConfig.extend({
  /** Folder of the segments. */
  auditDir: z.string().min(1),
  /** Size at which a new segment begins, bytes. */
  auditSegmentBytes: IntegerText.min(4096)
    .max(1024 ** 3)
    .default(64 * 1024 ** 2),
  /** How often the log is looked through for what is missing, milliseconds. */
  auditCheckMs: IntegerText.min(100).max(3_600_000).default(60_000),
  /** How often it is tried whether events come into the log, milliseconds. */
  auditCanaryMs: IntegerText.min(100).max(3_600_000).default(30_000),
  /** Which of the mesh's auditors this is. */
  auditorId: z.enum(AUDITORS).default("auditor"),
  /** File of the log's private key; `log-key` in the folder if not said. */
  auditKeyFile: z.string().min(1).optional(),
  /** Whether checkpoints are signed by ML-DSA-44 (FIPS 204), too; the key is `<log key>-mldsa`. */
  auditMldsa: z
    .enum(["on", "off"])
    .default("off")
    .transform((value) => value === "on"),
  /** File with the witnesses that are asked to cosign; `witnesses` in the folder if not said. */
  auditWitnesses: z.string().min(1).optional(),
  /** File with the authority of the witnesses' certificates, PEM; those of the system if not said. */
  auditWitnessCa: z.string().min(1).optional(),
});
export type AuditorConfig = z.infer<typeof AuditorConfig>;

const ENV = {
  ...BASE_ENV,
  auditDir: "TIERMESH_AUDIT_DIR",
  auditSegmentBytes: "TIERMESH_AUDIT_SEGMENT_BYTES",
  auditCheckMs: "TIERMESH_AUDIT_CHECK_MS",
  auditCanaryMs: "TIERMESH_AUDIT_CANARY_MS",
  auditorId: "TIERMESH_AUDITOR_ID",
  auditKeyFile: "TIERMESH_AUDIT_KEY",
  auditMldsa: "TIERMESH_AUDIT_MLDSA",
  auditWitnesses: "TIERMESH_AUDIT_WITNESSES",
  auditWitnessCa: "TIERMESH_AUDIT_WITNESS_CA",
} as const;

/** @throws MeshError `bad_config` naming the variable. */
export function auditorConfig(env: Environment, defaults: { auditDir: string }): AuditorConfig {
  return loadConfig(AuditorConfig, ENV, { env, file: defaults, fileName: "defaults" });
}
