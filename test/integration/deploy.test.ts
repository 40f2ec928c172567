import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { parse } from "yaml";
import { makeBundle, type ClusteredSettings } from "../../cli/bus/bundle.ts";
import { checkBusSettings, readBusSettings } from "../../cli/bus/bus-settings.ts";
import { parseRoutes } from "../../cli/bus/cluster.ts";
import { initBus } from "../../cli/bus/init.ts";
import { obtainNatsServer } from "../../service/bus-server/index.ts";
import { tempDir } from "../kit/temp-dir.ts";

/** What is in deploy/ is read by other programs: as far as these are here, they say what they think of it. */

const DEPLOY = path.join(import.meta.dirname, "..", "..", "deploy");

function folder(): string {
  const made = tempDir("tiermesh-deploy-");
  onTestFinished(() => made.remove());
  return made.path;
}

test.each([
  ["with TLS", "10.0.0.1,10.0.0.2,10.0.0.3", {}],
  ["in clear", "127.0.0.11,127.0.0.12,127.0.0.13", { tls: "off" }],
])("nats-server takes the configuration of each server of a bundle, %s", async (_how, routes, more) => {
  const cluster = { name: "c", server: "n1", servers: parseRoutes(routes) };
  const out = folder();
  const settings = checkBusSettings({ ...more, cluster }, "test") as ClusteredSettings;
  const { servers } = await makeBundle(out, settings, {});
  const { path: binary } = await obtainNatsServer();
  for (const server of servers) {
    const bus = path.join(server, "bus");
    // As a start of it does: where it lies is known only there.
    const { config } = await initBus(bus, readBusSettings(bus), () => undefined);
    const { status, stderr } = spawnSync(binary, ["-t", "-c", config], { encoding: "utf8" });
    expect([status, stderr]).toEqual([0, expect.stringContaining("is valid")]);
  }
});

const units = readdirSync(path.join(DEPLOY, "systemd"));

test.skipIf(spawnSync("systemd-analyze", ["--version"]).status !== 0)(
  "systemd takes the units, and calls them safe",
  () => {
    const here = folder();
    for (const unit of units) {
      const file = path.join(here, unit);
      // That the program is where the unit says is the host's to see to.
      const text = readFileSync(path.join(DEPLOY, "systemd", unit), "utf8");
      writeFileSync(file, text.replaceAll("/opt/tiermesh/node_modules/.bin/node", process.execPath));
    }
    for (const unit of units) {
      const file = path.join(here, unit);
      const verified = spawnSync("systemd-analyze", ["verify", file], { encoding: "utf8" });
      expect([unit, verified.status, verified.stderr]).toEqual([unit, 0, ""]);
      const { status, stdout } = spawnSync("systemd-analyze", ["security", "--offline=true", "--threshold=25", file], {
        encoding: "utf8",
      });
      expect([unit, status, stdout.slice(-200)]).toEqual([unit, 0, expect.any(String)]);
    }
  },
);

interface Compose {
  services: Record<string, { command: string[]; volumes: string[]; depends_on?: string[]; image: string }>;
  volumes: Record<string, unknown>;
}

test("the compose file's services run commands that there are, on volumes and servers that there are", () => {
  const text = readFileSync(path.join(DEPLOY, "docker", "compose.yaml"), "utf8");
  const { services, volumes } = parse(text, { merge: true }) as Compose;
  expect(Object.keys(services)).toEqual([
    "bus-1",
    "bus-2",
    "bus-3",
    "router-1",
    "router-2",
    "router-3",
    "gateway",
    "auditor",
    "auditor-2",
  ]);
  for (const { command, depends_on: after = [], image, volumes: mounts } of Object.values(services)) {
    expect(image).toBe("tiermesh");
    expect(`${command[0]} ${command[1]}`).toMatch(/^(bus run|run (router|gateway|auditor))$/);
    for (const other of after) expect(services).toHaveProperty(other);
    const named = mounts
      .map((mount) => mount.split(":", 1)[0] ?? "")
      .filter((source) => !source.startsWith("./bundle/"));
    for (const source of named) expect(volumes).toHaveProperty(source);
  }
});

test("the image copies folders that there are, and starts a program that there is", () => {
  const text = readFileSync(path.join(DEPLOY, "docker", "Dockerfile"), "utf8");
  const copied = [...text.matchAll(/^COPY (?!--from)(.*) \S+$/gm)].flatMap(([, sources = ""]) => sources.split(" "));
  for (const source of copied) expect([source, existsSync(path.join(DEPLOY, "..", source))]).toEqual([source, true]);
  expect(text).toContain('ENTRYPOINT ["node", "cli/main.ts"]');
});
