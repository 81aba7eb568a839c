/** The numbers that the SignalR hub protocol gives to its messages. */
export const MessageType = {
  invocation: 1,
  streamItem: 2,
  completion: 3,
  streamInvocation: 4,
  cancelInvocation: 5,
  ping: 6,
  close: 7,
  ack: 8,
  sequence: 9,
} as const;

/** Names and values that travel beside an invocation; no HTTP headers. An object without prototype. */
export type MessageHeaders = Readonly<Record<string, string>>;

/** A call of a method on the other side. Without `invocationId` nobody answers it. */
export interface InvocationMessage {
  readonly type: typeof MessageType.invocation;
  readonly headers?: MessageHeaders | undefined;
  /** Never empty: an empty one on the wire is none. */
  readonly invocationId?: string | undefined;
  readonly target: string;
  readonly arguments: readonly unknown[];
  /** One id for each stream that the caller uploads, in the order of the parameters. */
  readonly streamIds?: readonly string[] | undefined;
  /** Why `arguments` could not be read, which fails the call and not the connection. */
  readonly bindingError?: Error | undefined;
}

/** A call of a method that answers with a stream. */
export interface StreamInvocationMessage extends Omit<InvocationMessage, "type" | "invocationId"> {
  readonly type: typeof MessageType.streamInvocation;
  readonly invocationId: string;
}

/** One item of a stream, in either direction; `invocationId` is the stream's. */
export interface StreamItemMessage {
  readonly type: typeof MessageType.streamItem;
  readonly headers?: MessageHeaders | undefined;
  readonly invocationId: string;
  readonly item: unknown;
  /** Why `item` could not be read, which fails the stream and not the connection. */
  readonly bindingError?: Error | undefined;
}

/** The end of a call or of a stream. `hasResult` tells a result of `undefined` or null from none. */
export interface CompletionMessage {
  readonly type: typeof MessageType.completion;
  readonly headers?: MessageHeaders | undefined;
  readonly invocationId: string;
  readonly error?: string | undefined;
  readonly hasResult: boolean;
  readonly result?: unknown;
}

/** The caller wants no more of a call or stream. */
export interface CancelInvocationMessage {
  readonly type: typeof MessageType.cancelInvocation;
  readonly headers?: MessageHeaders | undefined;
  readonly invocationId: string;
}

export interface PingMessage {
  readonly type: typeof MessageType.ping;
}

/** The sender ends the connection. An `error`, even an empty one, says that it is not a good end. */
export interface CloseMessage {
  readonly type: typeof MessageType.close;
  readonly error?: string | undefined;
  /** Whether the client may try again at once. Default false. */
  readonly allowReconnect?: boolean | undefined;
}

/** Every counted message up to `sequenceId` was received (stateful reconnect). */
export interface AckMessage {
  readonly type: typeof MessageType.ack;
  readonly sequenceId: number;
}

/** The number of the next counted message (stateful reconnect). */
export interface SequenceMessage {
  readonly type: typeof MessageType.sequence;
  readonly sequenceId: number;
}

/** Everything that can be said after the handshake. */
export type HubMessage =
  | InvocationMessage
  | StreamItemMessage
  | CompletionMessage
  | StreamInvocationMessage
  | CancelInvocationMessage
  | PingMessage
  | CloseMessage
  | AckMessage
  | SequenceMessage;

/** Whether stateful reconnect numbers this message, keeps it and sends it again. */
export function isCounted(type: HubMessage["type"]): boolean {
  return type <= MessageType.cancelInvocation;
}
