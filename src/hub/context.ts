import type { HubConnection } from "./hub-connection.js";
import type { Connection, ConnectionRequest, TransportName } from "./transport.js";

/** A connection as the hub's own code sees it; one object for all calls of a connection. */
export class HubCallerContext {
  readonly #connection: Connection;
  readonly #hubConnection: HubConnection;
  #items: Map<unknown, unknown> | undefined;

  /** @internal */
  constructor(connection: Connection, hubConnection: HubConnection) {
    this.#connection = connection;
    this.#hubConnection = hubConnection;
  }

  /** Public id of the connection. */
  get connectionId(): string {
    return this.#connection.id;
  }

  /** Who the client is, for `clients.user(id)`; fixed when it connected. */
  get userId(): string | undefined {
    return this.#hubConnection.userId;
  }

  /** What the authentication in front, or `authenticate`, said of the client. */
  get user(): unknown {
    return this.#connection.user;
  }

  /** What the application keeps for this connection. */
  get items(): Map<unknown, unknown> {
    this.#items ??= new Map();
    return this.#items;
  }

  /** The request that connected: headers, query, address, the framework's own object. */
  get request(): ConnectionRequest {
    return this.#connection.request;
  }

  get transport(): TransportName {
    return this.#connection.transport;
  }

  /** Name of the hub protocol, for example `"json"`. */
  get protocol(): string {
    return this.#hubConnection.protocolName;
  }

  /** Fires when the connection has ended. */
  get signal(): AbortSignal {
    return this.#hubConnection.signal;
  }

  /** Bytes sent that the client has not taken yet. */
  get bufferedBytes(): number {
    return this.#hubConnection.out.bufferedBytes;
  }

  /** Ends the connection; the client does not reconnect by itself. */
  abort(): void {
    this.#hubConnection.disconnect({});
  }
}
