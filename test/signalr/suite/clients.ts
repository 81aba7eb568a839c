/** Microsoft's clients, each version with its own MessagePack. */
import * as signalR10 from "@microsoft/signalr";
import * as messagePack10 from "@microsoft/signalr-protocol-msgpack";
import * as signalR8 from "signalr-8";
import * as signalR9 from "signalr-9";
import * as messagePack8 from "signalr-msgpack-8";
import * as messagePack9 from "signalr-msgpack-9";

export type SignalR = typeof signalR10;
export type { HubConnection, IHttpConnectionOptions } from "@microsoft/signalr";

export interface ClientLibrary {
  readonly version: 8 | 9 | 10;
  readonly signalR: SignalR;
  readonly messagePack: typeof messagePack10;
}

// What tests use of them is the same in all three.
export const clientLibraries: readonly ClientLibrary[] = [
  [8, signalR8, messagePack8] as const,
  [9, signalR9, messagePack9] as const,
  [10, signalR10, messagePack10] as const,
].map(([version, signalR, messagePack]) => ({
  version,
  signalR: signalR as unknown as SignalR,
  messagePack: messagePack as unknown as typeof messagePack10,
}));

export const newestClient = clientLibraries.at(-1) as ClientLibrary;

export type TransportName = "WebSockets" | "ServerSentEvents" | "LongPolling";
export type ProtocolName = "json" | "messagepack";

/** Every transport with every protocol that it can carry. */
export const combinations: readonly (readonly [TransportName, ProtocolName])[] = [
  ["WebSockets", "json"],
  ["WebSockets", "messagepack"],
  ["ServerSentEvents", "json"],
  ["LongPolling", "json"],
  ["LongPolling", "messagepack"],
];

export const transports: readonly TransportName[] = [
  "WebSockets",
  "ServerSentEvents",
  "LongPolling",
];
