/**
 * Every error class of Halyard.
 *
 *     HalyardError                  code
 *     ├── HandshakeError            + status, headers: the HTTP answer; response: what a client got
 *     ├── ViolationError            + closeCode: what the peer did wrong
 *     │   ├── ProtocolError           1002 framing, 1007 payload data
 *     │   ├── MessageTooBigError      1009
 *     │   └── OverloadError           1013
 *     ├── ConnectionClosedError     + closeReceived, closeSent, receivedFirst
 *     ├── InvalidStateError         the operation is not allowed now
 *     ├── SendBufferFullError       the peer reads too slowly for what is being sent
 *     ├── HubError                  its text reaches the client that called
 *     └── HubProtocolError          the peer broke the hub protocol
 *
 * Each has a stable `code`; the text may change between releases, the code does not.
 */

/** What all errors of Halyard have in common: a stable `code`, made to be compared. */
export class HalyardError extends Error {
  /** A stable name for this kind of error, for example `"ERR_MESSAGE_TOO_BIG"`. */
  readonly code: string;

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
  }
}

/** What a server, or a proxy, answered to our opening handshake: all of it a stranger's words. */
export interface RefusedAnswer {
  readonly status: number;
  /** By names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  /** The beginning of the body, 16 KiB at most; `undefined` when there was none to be read. */
  readonly body: string | undefined;
}

/**
 * An opening handshake was refused.
 *
 * On a server the HTTP answer, of `status` and `headers`, has been sent when this is thrown. On a
 * client `response` is what came; `status` is then 502, for frameworks that take the status of an
 * error they are given for their own answer.
 * @see RFC 6455 §4.1, §4.2.2
 */
export class HandshakeError extends HalyardError {
  /** HTTP status of the refusal, for example 400 or 426. */
  readonly status: number;
  /** Headers that belong to the refusal. */
  readonly headers: Readonly<Record<string, string>>;
  /** On a client, the answer that was not the right one. */
  readonly response: RefusedAnswer | undefined;

  constructor(
    code: string,
    message: string,
    status: number,
    headers: Readonly<Record<string, string>> = {},
    response?: RefusedAnswer,
  ) {
    super(code, message);
    this.status = status;
    this.headers = headers;
    this.response = response;
  }
}

/** What the peer sent cannot be accepted; the connection is closed with `closeCode`. */
export abstract class ViolationError extends HalyardError {
  /** The close code that tells the peer why. */
  abstract readonly closeCode: number;
}

/**
 * The peer sent something that RFC 6455 forbids.
 * @see RFC 6455 §7.4.1
 */
export class ProtocolError extends ViolationError {
  /** 1002 for a frame that must not be, 1007 for text that is not UTF-8. */
  readonly closeCode: 1002 | 1007;

  constructor(code: string, message: string, closeCode: 1002 | 1007 = 1002) {
    super(code, message);
    this.closeCode = closeCode;
  }
}

/** A message, or what it would become, is larger than `maxMessageSize`. Raised before the payload is kept. */
export class MessageTooBigError extends ViolationError {
  readonly closeCode = 1009;

  /** @param option - The option that sets this limit. */
  constructor(limit: number, option = "maxMessageSize") {
    super(
      "ERR_MESSAGE_TOO_BIG",
      `A message is larger than the limit of ${limit} bytes; raise ${option} if it is legitimate.`,
    );
  }
}

/** All connections together hold more than their `MemoryBudget` allows, and this one wanted more. */
export class OverloadError extends ViolationError {
  readonly closeCode = 1013;

  constructor(limit: number) {
    super("ERR_OVERLOAD", `The memory budget of ${limit} bytes for all connections is used up.`);
  }
}

/** A Close frame that was sent or received. */
export interface CloseInfo {
  /** The close code; 1005 when the frame had no payload. */
  readonly status: number;
  /** The reason given, or `""`. */
  readonly description: string;
}

/** What a {@link ConnectionClosedError} knows about the closing handshake. */
export interface ClosingHandshake {
  /** The Close frame received, if any. */
  readonly closeReceived?: CloseInfo | undefined;
  /** The Close frame sent, if any. */
  readonly closeSent?: CloseInfo | undefined;
  /** Whether the peer's Close came before ours was sent. */
  readonly receivedFirst?: boolean;
}

/** The connection has ended, so the operation cannot be carried out. */
export class ConnectionClosedError extends HalyardError implements ClosingHandshake {
  readonly closeReceived: CloseInfo | undefined;
  readonly closeSent: CloseInfo | undefined;
  readonly receivedFirst: boolean;

  constructor(
    code: string,
    message: string,
    handshake: ClosingHandshake = {},
    options?: ErrorOptions,
  ) {
    super(code, message, options);
    this.closeReceived = handshake.closeReceived;
    this.closeSent = handshake.closeSent;
    this.receivedFirst = handshake.receivedFirst ?? false;
  }
}

/** The application called something that the present state does not allow. */
export class InvalidStateError extends HalyardError {}

/** Too many bytes wait for the peer; nothing of the refused message was sent and the connection lives on. */
export class SendBufferFullError extends HalyardError {
  constructor(waiting: number, limit: number) {
    super(
      "ERR_SEND_BUFFER_FULL",
      `${waiting} bytes wait for a peer that reads too slowly (limit ${limit}); await send() before the next one, drop the message, or raise maxSendBuffer.`,
    );
  }
}

/**
 * An error whose text is meant for the client: what a hub method throws otherwise is replaced by a
 * general sentence, so that nothing internal leaks.
 *
 * @example throw new HubError("The room is full.");
 */
export class HubError extends HalyardError {
  /** @param options.code - Stays on the server. Default `"ERR_HUB"`. */
  constructor(message: string, { code = "ERR_HUB", ...options }: HubErrorOptions = {}) {
    super(code, message, options);
  }
}

export interface HubErrorOptions extends ErrorOptions {
  readonly code?: string;
}

/** The peer sent what is no message of the hub protocol; it ends the connection. */
export class HubProtocolError extends HalyardError {
  constructor(message: string, code = "ERR_HUB_PROTOCOL", options?: ErrorOptions) {
    super(code, message, options);
  }
}

/** A hub message is larger than `maximumReceiveMessageSize`; it ends the connection. */
export class HubMessageTooBigError extends HubProtocolError {
  constructor(limit: number) {
    // The text is ASP.NET Core's own, which clients show with detailed errors.
    super(
      `The maximum message size of ${limit}B was exceeded. The message size can be configured in AddHubOptions.`,
      "ERR_HUB_MESSAGE_TOO_BIG",
    );
  }
}
