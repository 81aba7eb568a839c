/**
 * What the suite runs against: echoes of Halyard in its two ways to receive, and of `ws`. The suite
 * itself knows nothing of this file.
 */

import { createServer as createHttpServer, type Server } from "node:http";
import { createServer as createHttpsServer } from "node:https";
import type { AddressInfo } from "node:net";
import type { SecureContextOptions } from "node:tls";
import {
  type ConnectOptions,
  compose,
  connect,
  handleUpgrades,
  type SocketOptions,
  type WebSocketConnection,
  webSockets,
} from "halyard";
import { WebSocket, WebSocketServer } from "ws";
import type { RawServer } from "./raw-server.js";

export const quiet = { debug() {}, info() {}, warn() {}, error() {} };

/** The ways to receive, each as an echo. */
export const echoes: Readonly<Record<string, (socket: WebSocketConnection) => Promise<void>>> = {
  async "whole messages"(socket) {
    for await (const message of socket) await socket.send(message.data);
  },
  async "piece by piece"(socket) {
    // Small, and of no power of two, so that pieces end everywhere.
    const buffer = new Uint8Array(1021);
    for (;;) {
      const { count, type, endOfMessage } = await socket.receive(buffer);
      if (type === "close") break;
      await socket.send(buffer.subarray(0, count), { type, endOfMessage });
    }
    await socket.close(socket.closeStatus, socket.closeStatusDescription);
  },
};

/** Everything that can be compressed is, and both sides remember what they may. */
export const eagerCompression = {
  serverContextTakeover: true,
  clientContextTakeover: true,
  threshold: 0,
};

export interface EchoOptions {
  readonly maxMessageSize: number;
  readonly tls?: SecureContextOptions | undefined;
  /** Address to listen on. Default 127.0.0.1. */
  readonly host?: string;
  /** Of a server of Halyard; compression and message limit have defaults here. */
  readonly socketOptions?: SocketOptions;
}

/** A server that listens, and how to end it. */
export interface EchoServer {
  readonly url: string;
  close(): Promise<void>;
}

function httpServer(tls: SecureContextOptions | undefined): Server {
  return tls === undefined ? createHttpServer() : createHttpsServer(tls);
}

async function listen(
  server: Server,
  port: number,
  { host = "127.0.0.1", tls }: EchoOptions,
): Promise<EchoServer> {
  await new Promise<void>((resolve) => server.listen(port, host, resolve));
  return {
    url: `${tls ? "wss" : "ws"}://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** An echo of Halyard. @param form - A key of {@link echoes}. */
export function halyardServer(form: string, settings: EchoOptions, port = 0): Promise<EchoServer> {
  const { maxMessageSize, tls, socketOptions } = settings;
  const server = httpServer(tls);
  const options = { maxMessageSize, compression: true, logger: quiet, ...socketOptions };
  server.on(
    "request",
    compose(
      [
        webSockets(options),
        async (request) => {
          await echoes[form]?.(await request.webSockets.accept());
        },
      ],
      { logger: quiet },
    ),
  );
  handleUpgrades(server, { logger: quiet, shutdownTimeout: 100 });
  return listen(server, port, settings);
}

/** An echo of `ws`. */
export function wsServer(settings: EchoOptions, port = 0): Promise<EchoServer> {
  const { maxMessageSize, tls } = settings;
  const server = httpServer(tls);
  const sockets = new WebSocketServer({
    server,
    maxPayload: maxMessageSize,
    perMessageDeflate: true,
  });
  sockets.on("connection", (socket) => {
    socket.on("error", () => {});
    socket.on("message", (data, binary) => socket.send(data, { binary }));
  });
  return listen(server, port, settings);
}

/** A client that echoes to whoever it is sent to, until there is nobody. */
export type EchoClient = (url: string) => Promise<void>;

/** Halyard's. @param form - A key of {@link echoes}. */
export function halyardClient(form: string, options: ConnectOptions): EchoClient {
  return async (url) => {
    const socket = await connect(url, { logger: quiet, ...options });
    // How a connection ends is what the case looks at.
    await echoes[form]?.(socket).catch(() => socket.close());
  };
}

/**
 * Keeps a socket open, so that the cases that follow share one connection of HTTP/2. Where each
 * connection ends with its case, node:http2 of Node 20 corrupts its memory now and then when both
 * ends are in one process; newer Nodes do not, nor two processes.
 */
export async function holdSession(server: RawServer, options: ConnectOptions): Promise<void> {
  const held = server.connect(undefined);
  const url = `ws://127.0.0.1:${server.port}/`;
  // The server's end does not answer pings.
  await connect(url, { logger: quiet, ...options, keepAliveInterval: 0 });
  await held;
}

/** That of `ws`. */
export function wsClient(maxPayload: number): EchoClient {
  return (url) =>
    new Promise((resolve, reject) => {
      const socket = new WebSocket(url, { maxPayload, rejectUnauthorized: false });
      let isOpen = false;
      socket.on("open", () => {
        isOpen = true;
      });
      socket.on("error", (error) => {
        if (!isOpen) reject(error);
      });
      socket.on("message", (data, binary) => socket.send(data, { binary }));
      socket.on("close", () => resolve());
    });
}
