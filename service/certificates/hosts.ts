import type { X509Certificate } from "node:crypto";
import { isIP } from "node:net";
import { domainToASCII } from "node:url";
import { MeshError } from "../../bus-schemas/index.ts";

/** A name that a certificate vouches for. Its value has one spelling: lower case, addresses in their shortest form. */
export interface CertifiedHost {
  type: "dns" | "ip";
  value: string;
}

const DNS_NAME =
  /^(?=.{1,253}$)(\*\.)?[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*$/;

/**
 * A host name or address as people write it (`Bus.Example`, `[::1]`) in the spelling of certificates.
 * @throws MeshError `bad_config` quoting what is neither.
 */
export function certifiedHost(host: string): CertifiedHost {
  const bare = host.trim().replace(/^\[(.*)\]$/, "$1");
  const version = isIP(bare);
  if (version === 4) return { type: "ip", value: bare };
  if (version === 6) return { type: "ip", value: shortIpv6(bare) };
  const name = (bare.startsWith("*.") ? `*.${domainToASCII(bare.slice(2))}` : domainToASCII(bare)).toLowerCase();
  // `1.2.3` and the like would be read as an address by some and as a name by others.
  if (!DNS_NAME.test(name) || /(^|\.)\d+$/.test(name))
    throw new MeshError("bad_config", `${JSON.stringify(host)} is neither a host name nor an IP address`, {
      field: "hosts",
    });
  return { type: "dns", value: name };
}

/** The hosts without repetition, in order. @throws MeshError `bad_config` when there is none or one is not valid. */
export function certifiedHosts(hosts: readonly string[]): CertifiedHost[] {
  const byText = new Map(hosts.map(certifiedHost).map((host) => [host.value, host]));
  if (byText.size === 0)
    throw new MeshError("bad_config", "a server certificate needs at least one host name or address", {
      field: "hosts",
    });
  return [...byText.values()];
}

/** What a certificate says it is for, names and addresses, in the spelling of `certifiedHost`. */
export function hostsOf(certificate: X509Certificate): string[] {
  const entries = certificate.subjectAltName?.split(", ") ?? [];
  return entries.flatMap((entry) => {
    const [, kind, value = ""] = /^(DNS|IP Address):(.*)$/.exec(entry) ?? [];
    if (kind === undefined) return [];
    return isIP(value) === 6 ? shortIpv6(value) : value.toLowerCase();
  });
}

/** Whether the certificate vouches for the host; the subject's common name does not count, as for nats-server. */
export function covers(certificate: X509Certificate, { type, value }: CertifiedHost): boolean {
  if (type === "ip") return certificate.checkIP(value) !== undefined;
  return certificate.checkHost(value, { subject: "never", partialWildcards: false }) !== undefined;
}

function shortIpv6(address: string): string {
  return new URL(`http://[${address.replace(/%.*$/, "")}]`).hostname.slice(1, -1);
}
