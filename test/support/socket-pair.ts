import type { AddressInfo } from "node:net";
import { createServer, connect as netConnect, type Socket } from "node:net";
import type { SocketOptions } from "halyard";
import { resolveSocketOptions } from "#dist/engine/options.js";
import { WebSocketConnection } from "#dist/engine/web-socket-connection.js";

/** Drops every line. */
export const quietLogger = { debug() {}, info() {}, warn() {}, error() {} };

/** Two TCP sockets that are connected with each other on the loopback interface. */
export async function tcpPair(): Promise<{ left: Socket; right: Socket }> {
  const server = createServer({ allowHalfOpen: true });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const accepted = new Promise<Socket>((resolve) => server.once("connection", resolve));
  const right = netConnect((server.address() as AddressInfo).port, "127.0.0.1");
  await new Promise((resolve) => right.once("connect", resolve));
  const left = await accepted;
  server.close();
  for (const socket of [left, right]) {
    socket.on("error", () => {});
    socket.setNoDelay();
  }
  return { left, right };
}

/** A connection over `socket`, as if the opening handshake had just been done. */
export function connectionOver(
  socket: Socket,
  role: "server" | "client",
  options: SocketOptions = {},
): WebSocketConnection {
  return new WebSocketConnection(socket, {
    role,
    subprotocol: undefined,
    options: resolveSocketOptions({ logger: quietLogger, ...options }),
    head: Buffer.alloc(0),
  });
}

/** Both ends of a WebSocket, ours. */
export async function socketPair(
  serverOptions: SocketOptions = {},
  clientOptions: SocketOptions = {},
): Promise<{ server: WebSocketConnection; client: WebSocketConnection }> {
  const { left, right } = await tcpPair();
  return {
    server: connectionOver(left, "server", serverOptions),
    client: connectionOver(right, "client", clientOptions),
  };
}

/** A connection at the server's end, and the bare TCP socket of a client at the other. */
export async function serverAndRawClient(
  options: SocketOptions = {},
): Promise<{ server: WebSocketConnection; client: Socket }> {
  const { left, right } = await tcpPair();
  return { server: connectionOver(left, "server", options), client: right };
}

/** A frame as a client sends it, with the masking key 0, which changes nothing. */
export function clientFrame(
  opcode: number,
  payload: string | Uint8Array = "",
  isFinal = true,
): Buffer {
  const bytes = Buffer.from(payload as string);
  const first = (isFinal ? 0x80 : 0) | opcode;
  const length =
    bytes.length < 126
      ? [0x80 | bytes.length]
      : bytes.length < 0x10000
        ? [0x80 | 126, bytes.length >> 8, bytes.length & 0xff]
        : [0x80 | 127, 0, 0, 0, 0, ...uint32(bytes.length)];
  return Buffer.concat([Buffer.from([first, ...length, 0, 0, 0, 0]), bytes]);
}

function uint32(value: number): number[] {
  return [value >>> 24, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff];
}
