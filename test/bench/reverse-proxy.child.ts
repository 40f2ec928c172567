import { Agent, createServer, request as ask } from "node:http";
import type { AddressInfo } from "node:net";
import { serveParent } from "./child.ts";

/** What any gateway in Node costs at least: bytes to the upstream and back, nothing read. */
const port = Number(process.env["BENCH_UPSTREAM_PORT"]);
const agent = new Agent({ keepAlive: true });
const server = createServer((request, response) => {
  const { method, url: path, headers } = request;
  const onward = ask({ host: "127.0.0.1", port, agent, method, path, headers }, (answer) => {
    response.writeHead(answer.statusCode ?? 502, answer.headers);
    answer.pipe(response);
  });
  onward.on("error", () => response.destroy());
  request.pipe(onward);
});
server.listen(0, "127.0.0.1", () => serveParent({ port: (server.address() as AddressInfo).port }));
