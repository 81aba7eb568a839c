export { HubError, HubMessageTooBigError, HubProtocolError } from "../errors.js";
export type { HubProtocol } from "../hub-protocol/hub-protocol.js";
export { json } from "../hub-protocol/json.js";
export type { HubMessage } from "../hub-protocol/messages.js";
export type {
  ClientProxy,
  HubCallerClients,
  HubClients,
  InvokeOptions,
  ResultProxy,
  SingleClient,
} from "./clients.js";
export type { HubCallerContext } from "./context.js";
export {
  type ClientMethodDefinition,
  type ClientOf,
  type Contract,
  type ContractDefinition,
  defineContract,
  type ServerMethodDefinition,
  type ServerOf,
  type StandardSchema,
  type Upload,
  upload,
} from "./contract.js";
export type { HubFilter, HubInvocation, HubLifetime } from "./filters.js";
export type { GroupManager } from "./groups.js";
export { type AnyClient, Hub, type HubClass } from "./hub.js";
export type { DisconnectOptions } from "./hub-connection.js";
export { type HubContext, hubContext } from "./hub-context.js";
export { hubHandler } from "./hub-handler.js";
export {
  type AuthorizationRequest,
  type HubOptions,
  type HubRateLimits,
  hubDefaults,
  type MethodOptions,
  type SlowClientPolicy,
} from "./options.js";
export type { RateLimit } from "./token-bucket.js";
export type {
  Connection,
  ConnectionEnd,
  ConnectionHandler,
  ConnectionReceiver,
  ConnectionRequest,
  SharedBytes,
  TransportName,
} from "./transport.js";
