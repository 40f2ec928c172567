import type { ClusteredSettings } from "./bundle.ts";
import { joinUrls, speaksTls } from "./bus-settings.ts";
import { ownServer } from "./cluster.ts";

/** What a person must know who unpacks a bundle, in its own words: it travels without the rest of the documentation. */
export function bundleReadme(settings: ClusteredSettings): string {
  const { cluster, port } = settings;
  const rows = cluster.servers.map(
    ({ name, host, port: route }) => `| ${name} | ${host} | clients ${port}, servers ${route} |`,
  );
  return `# The bus of a Tiermesh cluster: ${cluster.name}

Made by \`tiermesh bus init --cluster ${cluster.name} --out …\`. Everything here is secret. Copy each folder to its place by a
way that others cannot read, then keep \`keep\` off the network and remove the rest.

| folder | goes to | ports |
| --- | --- | --- |
${rows.join("\n")}

On each of these servers, as the user that runs it:

    cp -r n1/. /var/lib/tiermesh && TIERMESH_HOME=/var/lib/tiermesh tiermesh bus run

A server has its own certificate and its keeper's key; of all other keys it has the public half. The first server waits until
more than half of them run. Then each stream is held by three servers (by one, while the cluster has fewer than three).

| folder | goes to each machine that runs | there as |
| --- | --- | --- |
| access/router | a router: \`tiermesh run router --id r1\` | \`$TIERMESH_HOME/access\` |
| access/gateway | a gateway: \`tiermesh run gateway\` | the same |
| access/auditor | the auditor: \`tiermesh run auditor\`, and elsewhere its standby: \`--id auditor-2\` | the same |
| access/monitor | a monitor | the same |
| access/operator | an administrator: \`tiermesh nodes\`, \`tiermesh node add gpu-1 --layer L1\` | the same |
| access/operator-tools | an administrator's \`nats\` command line | |
| access/client | programs that submit jobs | |

A machine that runs two of these gets both keys in one folder. Agents need none of it: they join by a token.

Addresses: ${joinUrls(settings, port).join(", ")}${speaksTls(settings) ? "" : "\n\nThis bus speaks without TLS."}

\`keep\` holds every key, the authority's key${speaksTls(settings) ? "" : " (none: there is no TLS)"} and the route secret. It is needed to add a server or to renew certificates: run the
same command again with the same \`--out\`; what it makes fits what is there.
`;
}

export function serverReadme({ cluster, port }: ClusteredSettings): string {
  const { name, host, port: route } = ownServer(cluster);
  return `# Server ${name} of the cluster ${cluster.name}

For ${host}: copy this folder's content to the state folder there, then start it. Clients come to port ${port}, the other
servers to port ${route}.

    TIERMESH_HOME=/var/lib/tiermesh tiermesh bus run
`;
}
