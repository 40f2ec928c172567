import type { Msg, Subscription } from "@nats-io/nats-core";

/**
 * The next message of `subscription` that satisfies `wanted`; the others are passed over. It reads by the
 * subscription's iterator and ends it, so subscribe anew for each wait.
 * @throws Error when none came within `timeoutMs`, saying how many others did.
 */
export async function nextMessage(
  subscription: Subscription,
  wanted: (message: Msg) => boolean = () => true,
  timeoutMs = 5000,
): Promise<Msg> {
  let passedOver = 0;
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    subscription.unsubscribe();
  }, timeoutMs);
  try {
    for await (const message of subscription) {
      if (wanted(message)) return message;
      passedOver++;
    }
  } finally {
    clearTimeout(timer);
  }
  const why = late ? `within ${timeoutMs} ms` : "before the subscription ended";
  throw new Error(`no such message on ${subscription.getSubject()} ${why}; ${passedOver} others were passed over`);
}
