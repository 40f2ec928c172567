import { z } from "zod";
import type { Channel, ChannelMessage } from "./channel.ts";
import { CHANNELS, CHANNEL_PARAMETERS } from "./channels.ts";
import { CONTENT_TYPES, HEADERS } from "./headers.ts";

type Json = Record<string, unknown>;

const text = (description: string): Json => ({ type: "string", description });

/** Headers of each kind of message, as JSON Schema. */
const HEADER_SCHEMAS: Record<NonNullable<ChannelMessage["headers"]>, Json> = {
  cloudevent: headers([HEADERS.ceSpecVersion, HEADERS.ceId, HEADERS.ceSource, HEADERS.ceType, HEADERS.ceTime], {
    [HEADERS.ceSpecVersion]: { type: "string", const: "1.0" },
    [HEADERS.ceId]: text("Id of the event, a ULID."),
    [HEADERS.ceSource]: text("Process that sent it: <process>/<name>, as its subject says."),
    [HEADERS.ceType]: text("tiermesh. and the event type."),
    [HEADERS.ceTime]: { type: "string", format: "date-time" },
    [HEADERS.msgId]: text("Same as ce-id; JetStream stores a repeat once."),
    [HEADERS.traceparent]: text("W3C trace context."),
  }),
  job: headers([HEADERS.job, HEADERS.dataClass, HEADERS.deadline, HEADERS.reply, HEADERS.model], {
    [HEADERS.job]: text("Job id."),
    [HEADERS.dataClass]: { type: "string", enum: ["P0", "P1", "P2"], description: "Effective data class." },
    [HEADERS.deadline]: text("Absolute, milliseconds since the Unix epoch."),
    [HEADERS.reply]: text("The caller's inbox: where the answer goes."),
    [HEADERS.model]: text("Model as the node spells it."),
    [HEADERS.attempt]: text("Which try this is, from 1."),
    [HEADERS.decision]: text("Id of the decision event."),
    [HEADERS.fence]: text("Of a durable job: fencing token of the run."),
    [HEADERS.traceparent]: text("W3C trace context."),
  }),
  sealed: headers([HEADERS.job, HEADERS.ticket, HEADERS.seal], {
    [HEADERS.job]: text("Job id."),
    [HEADERS.ticket]: text("The router's signed ticket."),
    [HEADERS.seal]: text("HPKE's encapsulated key, base64url."),
    [HEADERS.traceparent]: text("W3C trace context."),
  }),
  frame: headers([HEADERS.seq], { [HEADERS.seq]: text("Number of this frame, from 0, without holes.") }),
};

/**
 * The bus contract as an AsyncAPI 3.0.0 document. Schemas are written in draft 7, the base of AsyncAPI's own schema
 * object; the same schemas in draft 2020-12 are files beside it (json-schemas.ts).
 */
export function asyncapi(version: string): Json {
  return {
    asyncapi: "3.0.0",
    info: {
      title: "Tiermesh bus",
      version,
      description:
        "Every subject of the mesh. Bodies are JSON when Content-Type says so or is missing, else MessagePack; the reply answers in kind.",
      license: { name: "Apache-2.0", url: "https://www.apache.org/licenses/LICENSE-2.0" },
    },
    defaultContentType: CONTENT_TYPES.json,
    servers: {
      local: { host: "127.0.0.1:4222", protocol: "nats", description: "The bus of a mesh started by npm start." },
    },
    channels: Object.fromEntries(CHANNELS.flatMap(channelObjects)),
    operations: Object.fromEntries(CHANNELS.map((channel) => [`send_${channel.name}`, operation(channel)])),
    components: { messages: Object.fromEntries(CHANNELS.flatMap(componentMessages)) },
  };
}

function channelObjects(channel: Channel): [string, Json][] {
  const { name, address, from, to, guarantee, messages, reply } = channel;
  const own: [string, Json] = [
    name,
    {
      address,
      description: `From ${from} to ${to}. ${guarantee}`,
      ...(messages.length === 0 ? {} : { messages: messageRefs(messages) }),
      parameters: Object.fromEntries(
        parametersOf(address).map((key) => [key, { description: CHANNEL_PARAMETERS[key] }]),
      ),
    },
  ];
  // A reply goes to an inbox that the sender chose: AsyncAPI writes an address known only at run time as null.
  return reply === undefined ? [own] : [own, [`${name}Reply`, { address: null, messages: messageRefs(reply) }]];
}

function operation(channel: Channel): Json {
  const replyOn = channel.replyOn ?? (channel.reply === undefined ? undefined : `${channel.name}Reply`);
  const ref = (name: string) => ({ $ref: `#/channels/${name}` });
  return {
    action: "send",
    channel: ref(channel.name),
    summary: channel.guarantee,
    ...(replyOn === undefined ? {} : { reply: { channel: ref(replyOn) } }),
  };
}

function componentMessages(channel: Channel): [string, Json][] {
  return [...channel.messages, ...(channel.reply ?? [])].map((message) => [
    message.name,
    {
      name: message.name,
      summary: message.summary,
      ...(message.headers === undefined ? {} : { headers: HEADER_SCHEMAS[message.headers] }),
      payload: draft7(message.schema),
    },
  ]);
}

function messageRefs(messages: readonly ChannelMessage[]): Json {
  return Object.fromEntries(messages.map(({ name }) => [name, { $ref: `#/components/messages/${name}` }]));
}

function parametersOf(address: string): (keyof typeof CHANNEL_PARAMETERS)[] {
  return [...address.matchAll(/\{(\w+)\}/g)].map((match) => match[1] as keyof typeof CHANNEL_PARAMETERS);
}

function draft7(schema: z.ZodType): Json {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io: "input", target: "draft-7" });
  return rest;
}

function headers(required: string[], properties: Json): Json {
  return { type: "object", required, properties };
}
