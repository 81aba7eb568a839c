export {
  compose,
  type Middleware,
  type WebSocketRequest,
  webSockets,
} from "./adapters/node-http.js";
export {
  type ConnectOptions,
  connect,
  type ProxyOptions,
  type RequestHeaders,
  type TlsOptions,
} from "./engine/connect.js";
export { MemoryBudget, processMemoryBudget } from "./engine/memory-budget.js";
export type {
  BinaryMessage,
  CloseMessage,
  Message,
  ReceiveResult,
  TextMessage,
} from "./engine/message-queue.js";
export type { CompressionOptions, SocketOptions, WebSocketOptions } from "./engine/options.js";
export { type PreparedMessage, prepareMessage } from "./engine/prepared-message.js";
export { handleUpgrades, type UpgradeOptions, type Upgrades } from "./engine/upgrade.js";
export type {
  CloseOptions,
  ReceiveOptions,
  SendData,
  SendOptions,
  WebSocketConnection,
  WebSocketState,
} from "./engine/web-socket-connection.js";
export type { AcceptOptions, WebSocketManager } from "./engine/web-socket-manager.js";
export {
  type CloseInfo,
  ConnectionClosedError,
  HalyardError,
  HandshakeError,
  InvalidStateError,
  MessageTooBigError,
  OverloadError,
  ProtocolError,
  SendBufferFullError,
  ViolationError,
} from "./errors.js";
export type { Logger } from "./logger.js";
export { CloseCode } from "./protocol/close.js";
export type { MessageType } from "./protocol/protocol.js";
