import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { TlsFiles } from "../../service/bus-server/index.ts";
import { checkGiven, ensureCertificates } from "../../service/certificates/index.ts";
import { certificateHosts, speaksTls, type BusSettings } from "./bus-settings.ts";

export interface BusCertificates {
  files: TlsFiles;
  /** For join tokens. */
  caPem: string;
  /** Whether something was made or renewed now. */
  changed: boolean;
}

/**
 * The certificate that the bus shows, made or renewed when it is ours; undefined when the bus speaks in clear.
 * @param say takes what people should know of it
 * @throws MeshError `bad_config` naming a file that cannot be used
 */
export async function busCertificates(
  folder: string,
  settings: BusSettings,
  say: (line: string) => void,
): Promise<BusCertificates | undefined> {
  if (!speaksTls(settings)) return undefined;
  const hosts = certificateHosts(settings);
  const { cert_file: certFile, key_file: keyFile, ca_file: caFile } = settings;
  if (certFile !== undefined && keyFile !== undefined && caFile !== undefined) {
    // That the loopback names are not in it is usual; what other machines are told must be.
    const named = settings.urls.map((url) => new URL(url).hostname);
    const files = { certFile, keyFile, caFile };
    for (const warning of await checkGiven({ ...files, hosts: named.length === 0 ? [settings.host] : named }))
      say(warning);
    return { files, caPem: readFileSync(caFile, "utf8"), changed: false };
  }
  const { made, warnings, ...rest } = await ensureCertificates(join(folder, "tls"), hosts, Date.now());
  for (const warning of warnings) say(warning);
  const files = { certFile: rest.certFile, keyFile: rest.keyFile, caFile: rest.caFile };
  return { files, caPem: readFileSync(rest.caFile, "utf8"), changed: made !== "nothing" };
}
