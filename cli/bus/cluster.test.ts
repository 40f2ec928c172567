import { expect, test } from "vitest";
import { certificateHosts, checkBusSettings, joinUrls, speaksTls } from "./bus-settings.ts";
import { ClusterSettings, clusterOptions, parseRoutes, replicasFor } from "./cluster.ts";

const three = () => parseRoutes("10.0.0.1:6222, bus2.example , [fd00::3]:7000");

test("routes are host:port, by the names n1, n2, … or by names of one's own; the port may be left out", () => {
  expect(three()).toEqual([
    { name: "n1", host: "10.0.0.1", port: 6222 },
    { name: "n2", host: "bus2.example", port: 6222 },
    { name: "n3", host: "fd00::3", port: 7000 },
  ]);
  expect(parseRoutes("berlin=a.example,paris=b.example:1")[1]).toEqual({ name: "paris", host: "b.example", port: 1 });
});

test.each(["a b", "host:0", "host:70000", "user@host", "=host", "nats://host", "host:port", "[::1"])(
  "%o is no route, and the error quotes it",
  (route) => {
    expect(() => parseRoutes(`10.0.0.1,${route}`)).toThrow(`"${route}" is not host:port`);
  },
);

test("the server is one of the cluster's, and no two have one name", () => {
  const servers = three();
  expect(() => ClusterSettings.parse({ name: "c", server: "n4", servers })).toThrow("none of the cluster's servers");
  expect(() => ClusterSettings.parse({ name: "c", server: "n1", servers: parseRoutes("n2=a,b") })).toThrow("one name");
});

test("streams are held by three servers from three on, and never by two", () => {
  const of = (count: number) =>
    replicasFor({
      servers: Array.from({ length: count }, () => three())
        .flat()
        .slice(0, count),
    });
  expect([replicasFor(undefined), of(1), of(2), of(3), of(5)]).toEqual([1, 1, 1, 3, 3]);
});

test("every server tells clients the name that its certificate has", () => {
  const cluster = ClusterSettings.parse({ name: "c", server: "n3", servers: three() });
  expect(clusterOptions(cluster, 4222)).toEqual({
    name: "c",
    serverName: "n3",
    port: 7000,
    routes: ["10.0.0.1:6222", "bus2.example:6222", "[fd00::3]:7000"],
    advertise: "[fd00::3]:4222",
  });
  const settings = checkBusSettings({ host: "0.0.0.0", cluster }, "test");
  expect(certificateHosts(settings)).toEqual(["localhost", "127.0.0.1", "::1", "fd00::3"]);
});

test("join tokens name every server, unless other addresses are given", () => {
  const cluster = ClusterSettings.parse({ name: "c", server: "n1", servers: three() });
  const settings = checkBusSettings({ host: "10.0.0.1", cluster }, "test");
  const all = ["tls://10.0.0.1:4222", "tls://bus2.example:4222", "tls://[fd00::3]:4222"];
  expect(joinUrls(settings, 4222)).toEqual(all);
  expect(joinUrls({ ...settings, urls: ["tls://bus.example:443"] }, 4222)).toEqual(["tls://bus.example:443"]);
});

test("a cluster speaks in clear only where no byte of it leaves the machine", () => {
  const cluster = (routes: string) => ClusterSettings.parse({ name: "c", server: "n1", servers: parseRoutes(routes) });
  const local = checkBusSettings({ host: "127.0.0.11", cluster: cluster("127.0.0.11,127.0.0.12") }, "test");
  expect(speaksTls(local)).toBe(false);
  expect(speaksTls({ ...local, cluster: cluster("127.0.0.11,10.0.0.2") })).toBe(true);
});
