import { bold, dim, print } from "../format/terminal.ts";
import type { Mesh } from "./mesh.ts";

/** What a newcomer can try now, ready to paste. */
export function printNextSteps(mesh: Mesh): void {
  const { cell } = mesh.address;
  const request = `{"task_type":"chat","security_level":"P2","messages":[{"role":"user","content":"hello"}]}`;
  print();
  print(bold("try next") + dim("   (in another terminal; Ctrl-C here stops everything)"));
  print(`  curl ${mesh.gatewayUrl}/health`);
  print(
    `  curl -X POST ${mesh.gatewayUrl}/route -H 'Content-Type: application/json' -d '{"task_type":"chat","security_level":"P2"}'`,
  );
  print(`  npx tiermesh submit "Why is the sky blue?"      npx tiermesh nodes      npx tiermesh audit tail`);
  print(dim("  OpenAI SDK:"));
  print(
    `  new OpenAI({ baseURL: "${mesh.gatewayUrl}/v1", apiKey: "none" }).chat.completions.create({ model: "auto", messages, stream: true })`,
  );
  print(dim("  any NATS client, for example the nats CLI:"));
  print(`  eval "$(npx tiermesh bus env)"; nats req --timeout 30s mesh.${cell}.job.submit.chat '${request}'`);
}
