import { z } from "zod";
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
});
export type AuditorConfig = z.infer<typeof AuditorConfig>;

const ENV = {
  ...BASE_ENV,
  auditDir: "TIERMESH_AUDIT_DIR",
  auditSegmentBytes: "TIERMESH_AUDIT_SEGMENT_BYTES",
  auditCheckMs: "TIERMESH_AUDIT_CHECK_MS",
} as const;

/** @throws MeshError `bad_config` naming the variable. */
export function auditorConfig(env: Environment, defaults: { auditDir: string }): AuditorConfig {
  return loadConfig(AuditorConfig, ENV, { env, file: defaults, fileName: "defaults" });
}
