/* global signalR -- Microsoft's bundles, loaded by the page */

/**
 * A connection to the hub, not started yet.
 *
 * @param transport - A name of `HttpTransportType`, or `""` to take the best that works.
 * @param protocol - `"json"` or `"messagepack"`.
 */
export function createConnection(transport, protocol) {
  const { HttpTransportType, HubConnectionBuilder, LogLevel, protocols } = signalR;
  const options = transport === "" ? {} : { transport: HttpTransportType[transport] };
  const builder = new HubConnectionBuilder()
    .withUrl("hub", options)
    .withAutomaticReconnect()
    .configureLogging(LogLevel.Warning);
  if (protocol === "messagepack") {
    builder.withHubProtocol(new protocols.msgpack.MessagePackHubProtocol());
  }
  return builder.build();
}
