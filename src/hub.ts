export { mapConnection, mapHub } from "./adapters/node-http.js";
export * from "./hub/index.js";
export { accessToken, type TokenRequest } from "./transports/authentication.js";
export type {
  AuthenticationRefresh,
  ConnectionOptions,
  LongPollingOptions,
  WebSocketTransportOptions,
} from "./transports/options.js";
export type {
  RawConnection,
  RawData,
  RawHandler,
  RawSendOptions,
} from "./transports/raw-connection.js";
