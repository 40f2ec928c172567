import { expect, test } from "vitest";
import { files, replayHost, UNHURRIED, type Answers } from "./fixtures/replay-host.ts";
import { createNetworkProbe } from "./network.ts";

const ROUTE = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n";
const DEFAULT = `${ROUTE}wlan0\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000\n`;
const onLinux = (answers: Answers, route = DEFAULT) => {
  const host = replayHost(answers, files({ "/proc/net/route": route }));
  return createNetworkProbe()
    .probe(host, UNHURRIED)
    .then(({ values, how }) => ({ metered: values.metered, how, asked: host.asked }));
};

test.each([
  ["yes", true],
  ["yes (guessed)", true],
  ["no", false],
  ["no (guessed)", false],
  ["unknown", null],
])("NetworkManager's %o is %s", async (said, metered) => {
  const seen = await onLinux(() => ({ stdout: `GENERAL.METERED:${said}\n` }));
  expect(seen).toMatchObject({ metered, asked: ["nmcli -t -f GENERAL.METERED dev show wlan0"] });
});

test("without a default route, or with NetworkManager not running, nobody knows, and nothing is broken", async () => {
  expect(await onLinux(() => undefined, ROUTE)).toEqual({ metered: null, how: "no default route", asked: [] });
  const stopped = await onLinux(() => ({ code: 8, stderr: "Error: NetworkManager is not running." }));
  expect(stopped).toMatchObject({ metered: null, how: "no NetworkManager, which alone would know" });
  await expect(onLinux(() => ({ code: 1, stderr: "Error: unknown" }))).rejects.toThrow("nmcli answered");
});

test("the name of a device that could be taken for an option is not handed on", async () => {
  expect(await onLinux(() => undefined, DEFAULT.replace("wlan0", "-x"))).toMatchObject({ metered: null, asked: [] });
});

test.each([
  ["Unrestricted\r\n", false],
  ["Variable\r\n", true],
  ["Unknown\r\n", null],
])("Windows' %o is %s", async (stdout, metered) => {
  const host = replayHost(() => ({ stdout }), { platform: "win32" });
  expect((await createNetworkProbe().probe(host, UNHURRIED)).values).toEqual({ metered });
});
