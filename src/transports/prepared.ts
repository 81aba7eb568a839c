import type { PreparedMessage } from "../engine/prepared-message.js";
import type { SharedBytes } from "../hub/transport.js";

/** What transports keep of bytes that many connections get. */
export interface Prepared {
  /** As a WebSocket message. */
  message?: PreparedMessage;
  /** As a server-sent event. */
  event?: Uint8Array;
}

/** What is kept of `message`, to be looked at and added to. */
export function preparedOf(message: SharedBytes): Prepared {
  message.prepared ??= {} satisfies Prepared;
  return message.prepared as Prepared;
}
