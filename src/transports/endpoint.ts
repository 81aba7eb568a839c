import { constants } from "node:buffer";
import type { Http2ServerResponse } from "node:http2";
import type { WebSocketManager } from "../engine/web-socket-manager.js";
import { WebSockets } from "../engine/web-sockets.js";
import type { ConnectionHandler, ConnectionRequest, TransportName } from "../hub/transport.js";
import {
  allTransports,
  chooseNegotiateVersion,
  encodeNegotiateRedirect,
  encodeNegotiateResponse,
} from "../hub-protocol/negotiate.js";
import { log } from "../logger.js";
import { Authentication, isSameUser, noteMappedPath, subPaths } from "./authentication.js";
import { BrowserAdvice } from "./browser-advice.js";
import { ConnectionStore } from "./connection-store.js";
import {
  type Exchange,
  isGone,
  parameter,
  queryOf,
  type ResponseHeaders,
  TransportRequest,
} from "./exchange.js";
import { HttpConnection, type Principal } from "./http-connection.js";
import { LongPolling, uncached } from "./long-polling.js";
import { type ConnectionOptions, resolveConnectionOptions } from "./options.js";
import { ServerSentEvents } from "./server-sent-events.js";
import { Servers } from "./servers.js";
import { WebSocketCarrier } from "./web-sockets.js";

export { subPaths };

/** What a request to a mapped path is for. */
export type Route = "connect" | "negotiate" | "refresh";

/** Time the connections of a server that closes have to end, in milliseconds. */
const shutdownTime = 5_000;
const plain: ResponseHeaders = { "Content-Type": "text/plain" };
const nothing = Buffer.alloc(0);

/** An answer that ends a request, thrown by whatever finds out. */
class Refusal {
  readonly status: number;
  readonly body: string;
  readonly headers: ResponseHeaders;

  constructor(status: number, body = "", headers: ResponseHeaders = plain) {
    this.status = status;
    this.body = body;
    this.headers = headers;
  }
}

/**
 * A path that clients connect to: negotiate, the three transports, and the end of them, for
 * whatever understands the bytes.
 *
 * What adapters of frameworks need: {@link route} says whether a request is ours, {@link handle}
 * answers it and resolves when its pipeline may go on.
 */
export class Endpoint {
  readonly #path: string;
  readonly #store: ConnectionStore;
  readonly #authentication: Authentication;
  readonly #webSockets: WebSockets;
  readonly #servers: Servers;
  readonly #advice: BrowserAdvice;
  #isWarnedOfUpgrades = false;

  /**
   * @param path - Begins with a slash; one at its end means nothing.
   * @throws RangeError or TypeError, naming the option, when one is wrong.
   */
  constructor(path: string, handler: ConnectionHandler, options: ConnectionOptions = {}) {
    if (typeof path !== "string" || !path.startsWith("/") || /[?#]/.test(path)) {
      throw new TypeError(`A path begins with a slash and has no query, not ${String(path)}.`);
    }
    const resolved = resolveConnectionOptions(options);
    this.#path = path.replace(/\/+$/, "");
    this.#servers = new Servers((server) => this.#shutDown(server));
    this.#store = new ConnectionStore(resolved, handler, () => this.#servers.look());
    this.#authentication = new Authentication(resolved);
    this.#advice = new BrowserAdvice(resolved.logger);
    const { webSockets, allowedOrigins, logger } = resolved;
    const { keepAliveInterval, keepAliveTimeout, compression, closeTimeout } = webSockets;
    this.#webSockets = new WebSockets({
      closeTimeout,
      logger,
      // Pieces are passed on as they come; only what is compressed has to be there as a whole.
      maxMessageSize: webSockets.maxMessageSize ?? (compression ? 2 ** 20 : largestMessage),
      // Whoever sends looks at what waits; a refused message would be a lost one.
      maxSendBuffer: Number.MAX_SAFE_INTEGER,
      ...(keepAliveInterval !== undefined && { keepAliveInterval }),
      ...(keepAliveTimeout !== undefined && { keepAliveTimeout }),
      ...(compression !== undefined && { compression }),
      ...(allowedOrigins !== undefined && { allowedOrigins }),
    });
    noteMappedPath(this.#path);
  }

  /** The connections there are, negotiated ones included. */
  get connections(): Iterable<HttpConnection> {
    return this.#store;
  }

  /** What a path stands for; `undefined` where it is not ours. Compared as it is written. */
  route(path: string): Route | undefined {
    if (!path.startsWith(this.#path)) return undefined;
    switch (path.slice(this.#path.length)) {
      case "":
      case "/":
        return "connect";
      case "/negotiate":
        return "negotiate";
      case "/refresh":
        return "refresh";
      default:
        return undefined;
    }
  }

  /**
   * Answers a request.
   *
   * @returns Resolves when the pipeline in front may unwind: when the answer is ready, for sockets,
   *   event streams and polls when they are over. `false` if the request is left to others. Never
   *   rejects.
   */
  async handle(route: Route, exchange: Exchange): Promise<boolean> {
    const { method } = exchange.request;
    if (method === "OPTIONS") {
      this.#advice.look(exchange);
      return false;
    }
    try {
      if (route === "negotiate") await this.#negotiate(exchange);
      else if (route === "refresh") await this.#refresh(exchange);
      else if (method === "POST") await this.#post(exchange);
      else if (method === "GET") await this.#connect(exchange);
      else if (method === "DELETE") await this.#delete(exchange);
      else throw notAllowed("GET, POST, DELETE");
    } catch (error) {
      this.#answerError(exchange, error);
    }
    return true;
  }

  // --- negotiate ---

  async #negotiate(exchange: Exchange): Promise<void> {
    const { request } = exchange;
    if (request.method !== "POST") throw notAllowed("POST");
    const transportRequest = new TransportRequest(exchange);
    const principal = await this.#admit(exchange, transportRequest);
    const { options } = this.#store;
    const query = queryOf(request.url ?? "");
    const version = chooseNegotiateVersion(
      parameter(query, "negotiateVersion"),
      options.minimumProtocolVersion,
    );
    const answer = async () => {
      if (typeof version === "string") return version;
      const redirect = await options.redirect?.(transportRequest);
      if (redirect !== undefined) return encodeNegotiateRedirect(redirect, version);
      return this.#newNegotiation(exchange, transportRequest, principal, version);
    };
    const body = Buffer.from(await answer(), "utf8");
    this.#advice.look(exchange);
    const headers = { "Content-Type": "application/json", "Content-Length": body.length };
    exchange.respond(200, headers, body);
  }

  #newNegotiation(
    exchange: Exchange,
    { query, remoteAddress }: ConnectionRequest,
    principal: Principal,
    version: number,
  ): string {
    const server = this.#servers.note(exchange.request);
    if (this.#servers.isClosing(server)) throw unavailable("The server is shutting down.");
    const { options } = this.#store;
    const asksForReconnect = parameter(query, "useStatefulReconnect")?.trim().toLowerCase();
    const transports = options.transports.filter(
      (name) => name !== "WebSockets" || this.#servers.takesWebSockets(server),
    );
    if (transports.length < options.transports.length) this.#warnOfUpgrades();
    const connection = this.#create({
      version,
      remoteAddress,
      principal,
      isPending: true,
      allowsReconnect:
        options.allowStatefulReconnects &&
        asksForReconnect === "true" &&
        transports.includes("WebSockets"),
    });
    connection.server = server;
    return encodeNegotiateResponse({
      version,
      connectionId: connection.id,
      connectionToken: connection.token,
      useStatefulReconnect: connection.allowsReconnect,
      tokenLifetimeSeconds: options.enableAuthenticationRefresh ? lifetimeOf(principal) : undefined,
      availableTransports: allTransports.filter(({ transport }) =>
        transports.includes(transport as TransportName),
      ),
    });
  }

  #create(wanted: {
    version: number;
    remoteAddress: string | undefined;
    principal: Principal;
    isPending: boolean;
    allowsReconnect: boolean;
  }): HttpConnection {
    const created = this.#store.create(wanted);
    if (created instanceof HttpConnection) return created;
    const retryAfter = Math.ceil(this.#store.options.disconnectTimeout / 1000);
    throw new Refusal(created.status, created.body, { ...plain, "Retry-After": retryAfter });
  }

  // --- connect ---

  async #connect(exchange: Exchange): Promise<void> {
    const { request, response } = exchange;
    const hooks = { takeOver: () => exchange.takeOver() };
    const manager = this.#webSockets.manager(request, response, hooks);
    if (manager.isWebSocketRequest) return this.#connectWebSocket(exchange, manager);
    const transportRequest = new TransportRequest(exchange);
    const principal = await this.#admit(exchange, transportRequest);
    const connection = this.#find(exchange);
    if (acceptsEvents(request.headers.accept)) {
      await this.#connectEvents(exchange, connection, principal, transportRequest);
    } else {
      await this.#poll(exchange, connection, principal, transportRequest);
    }
  }

  async #connectEvents(
    exchange: Exchange,
    connection: HttpConnection,
    principal: Principal,
    request: ConnectionRequest,
  ): Promise<void> {
    this.#checkTransport(connection, "ServerSentEvents");
    this.#checkUser(connection, principal);
    if (connection.state !== "negotiated" || connection.isStarting) throw new Refusal(409);
    this.#use(connection, exchange, principal);
    const carrier = new ServerSentEvents(connection, exchange.response);
    const isOver = carrier.begin(exchange);
    connection.start("ServerSentEvents", request, carrier);
    await isOver;
  }

  async #poll(
    exchange: Exchange,
    connection: HttpConnection,
    principal: Principal,
    request: ConnectionRequest,
  ): Promise<void> {
    this.#checkTransport(connection, "LongPolling");
    this.#checkUser(connection, principal);
    if (connection.isStarting) throw new Refusal(409);
    if (isGone(exchange)) return;
    if (connection.state === "negotiated") {
      this.#use(connection, exchange, principal);
      const carrier = new LongPolling(connection);
      connection.start("LongPolling", request, carrier);
      carrier.begin(exchange);
      return;
    }
    if (!(await this.#mayReplace(connection, principal, request))) {
      throw new Refusal(403, '{"error":"permission_change_rejected"}', {
        ...uncached,
        "Content-Type": "application/json",
      });
    }
    const { carrier } = connection;
    if (!(carrier instanceof LongPolling)) throw noConnection();
    this.#use(connection, exchange, principal);
    exchange.response.setTimeout(0);
    await carrier.poll(exchange);
  }

  async #connectWebSocket(exchange: Exchange, manager: WebSocketManager): Promise<void> {
    // Whoever has `webSockets()` in front said there which origins may connect.
    const isJudged =
      exchange.webSockets !== undefined && this.#store.options.allowedOrigins === undefined;
    const refusal = isJudged ? undefined : this.#webSockets.originRefusal(manager);
    if (refusal !== undefined) throw new Refusal(403, refusal);
    const { options } = this.#store;
    const token = parameter(queryOf(exchange.request.url ?? ""), "id");
    // What it was when the request came tells a race from a mistake.
    const couldComeBack = this.#store.find(token ?? "")?.allowsReconnect ?? false;
    const transportRequest = new TransportRequest(exchange);
    const principal = await this.#admit(exchange, transportRequest);
    const server = this.#servers.note(exchange.request);
    if (!this.#servers.takesWebSockets(server)) {
      this.#warnOfUpgrades();
      throw notSupported("WebSockets");
    }
    let connection: HttpConnection;
    if (token) {
      connection = this.#find(exchange);
      this.#checkTransport(connection, "WebSockets");
    } else {
      if (!options.transports.includes("WebSockets")) throw notSupported("WebSockets");
      connection = this.#create({
        version: 0,
        remoteAddress: transportRequest.remoteAddress,
        principal,
        isPending: false,
        allowsReconnect: false,
      });
    }
    this.#checkUser(connection, principal);
    const isFirst = connection.state === "negotiated" && !connection.isStarting;
    if (!isFirst) {
      if (!connection.allowsReconnect || connection.isStarting || connection.state !== "open") {
        throw new Refusal(couldComeBack ? 204 : 409);
      }
      if (!(await this.#mayReplace(connection, principal, transportRequest))) {
        throw new Refusal(403);
      }
      if (!connection.allowsReconnect || connection.state !== "open") throw new Refusal(204);
    }
    await this.#webSockets.run(manager, () =>
      this.#runSocket(exchange, manager, connection, principal, transportRequest),
    );
  }

  /** Resolves when the socket is gone. */
  async #runSocket(
    exchange: Exchange,
    manager: WebSocketManager,
    connection: HttpConnection,
    principal: Principal,
    request: ConnectionRequest,
  ): Promise<void> {
    const isFirst = connection.state === "negotiated";
    connection.isStarting = isFirst;
    const { options } = this.#store;
    let carrier: WebSocketCarrier;
    try {
      const subprotocol = options.webSockets.subProtocolSelector?.(manager.requestedProtocols);
      const socket = await manager.accept(subprotocol === undefined ? {} : { subprotocol });
      carrier = new WebSocketCarrier(connection, socket);
    } catch (error) {
      // Without a token nobody could use it any more.
      if (isFirst && connection.id === connection.token) {
        connection.endAtOnce({ cause: "local" });
      }
      throw error;
    } finally {
      connection.isStarting = false;
    }
    this.#use(connection, exchange, principal);
    if (connection.state === "negotiated") connection.start("WebSockets", request, carrier);
    else if (connection.allowsReconnect) connection.carryOver(carrier);
    else return carrier.close("done");
    carrier.begin();
    await carrier.whenGone();
    if (connection.state === "ended") await connection.done;
  }

  // --- post, delete, refresh ---

  async #post(exchange: Exchange): Promise<void> {
    const principal = await this.#admit(exchange, new TransportRequest(exchange));
    const connection = this.#find(exchange);
    if (connection.transport === "WebSockets") {
      throw new Refusal(405, "POST requests are not allowed for WebSocket connections.", {
        ...plain,
        Allow: "GET",
      });
    }
    this.#checkUser(connection, principal);
    const result = await connection.uploads.take(exchange);
    if (isGone(exchange)) return;
    if (result === 200) {
      exchange.respond(200, { "Content-Length": 0 }, nothing);
    } else if (result === "unreadable") {
      throw new Refusal(400, "Middleware of this server has read the body and not kept it.");
    } else {
      throw new Refusal(result);
    }
  }

  async #delete(exchange: Exchange): Promise<void> {
    const principal = await this.#admit(exchange, new TransportRequest(exchange));
    const connection = this.#find(exchange);
    if (connection.transport !== "LongPolling") {
      throw new Refusal(400, "Cannot terminate this connection using the DELETE endpoint.");
    }
    this.#checkUser(connection, principal);
    connection.endAtOnce({ cause: "client" });
    exchange.respond(202, { "Content-Length": 0 }, nothing);
  }

  async #refresh(exchange: Exchange): Promise<void> {
    if (exchange.request.method !== "POST") throw notAllowed("POST");
    const { options } = this.#store;
    if (!options.enableAuthenticationRefresh) throw refreshError(404, "refresh_disabled");
    const request = new TransportRequest(exchange);
    const principal = await this.#authentication.identify(exchange, request);
    if (principal === 401 || principal.user === undefined) {
      throw refreshError(401, "invalid_token", challenge);
    }
    const status = await this.#authentication.authorize(principal, request);
    if (status === 401) throw refreshError(401, "invalid_token", challenge);
    if (status === 403) throw refreshError(403, "permission_change_rejected");
    const token = parameter(queryOf(exchange.request.url ?? ""), "id");
    if (!token) throw refreshError(400, "missing_connection_token");
    const connection = this.#store.find(token);
    if (connection === undefined) throw refreshError(404, "connection_not_found");
    if (connection.token === connection.id) {
      throw refreshError(400, "unsupported_negotiate_version");
    }
    if (!isSameUser(connection.principal, principal)) {
      connection.endAtOnce({ cause: "local" });
      throw refreshError(403, "permission_change_rejected");
    }
    if (!(await this.#mayReplace(connection, principal, request))) {
      throw refreshError(403, "permission_change_rejected");
    }
    if (connection.state === "ended") throw refreshError(404, "connection_not_found");
    connection.setPrincipal(principal, true);
    const answer = JSON.stringify({ tokenLifetimeSeconds: lifetimeOf(principal) });
    const body = Buffer.from(answer, "utf8");
    const headers = { "Content-Type": "application/json", "Content-Length": body.length };
    exchange.respond(200, headers, body);
  }

  // --- what they have in common ---

  /** Who sends a request that may be sent. */
  async #admit(exchange: Exchange, request: ConnectionRequest): Promise<Principal> {
    const principal = await this.#authentication.identify(exchange, request);
    if (principal === 401) throw new Refusal(401, "", { ...plain, ...challenge });
    const status = await this.#authentication.authorize(principal, request);
    if (status === 401) throw new Refusal(401, "", { ...plain, ...challenge });
    if (status === 403) throw new Refusal(403);
    return principal;
  }

  #find(exchange: Exchange): HttpConnection {
    const token = parameter(queryOf(exchange.request.url ?? ""), "id");
    if (!token) throw new Refusal(400, "Connection ID required");
    const connection = this.#store.find(token);
    if (connection === undefined) throw noConnection();
    return connection;
  }

  #checkTransport(connection: HttpConnection, name: TransportName): void {
    if (!this.#store.options.transports.includes(name)) throw notSupported(name);
    const { transport } = connection;
    if (transport !== undefined && transport !== name) {
      throw new Refusal(400, "Cannot change transports mid-connection");
    }
  }

  #checkUser(connection: HttpConnection, principal: Principal): void {
    if (isSameUser(connection.principal, principal)) return;
    log(this.#store.options.logger, "warn", "a connection's token was used by another user", {
      connectionId: connection.id,
    });
    throw new Refusal(403);
  }

  /** Notes what a transport's request brings for the connection. */
  #use(connection: HttpConnection, exchange: Exchange, principal: Principal): void {
    connection.server = this.#servers.note(exchange.request) ?? connection.server;
    if (principal.user === undefined) return;
    const old = connection.principal;
    const isNews = old.userId !== principal.userId || old.token !== principal.token;
    connection.setPrincipal(principal, isNews);
  }

  /** Asks the application whether another token may take the place of the one there is. */
  async #mayReplace(
    connection: HttpConnection,
    principal: Principal,
    request: ConnectionRequest,
  ): Promise<boolean> {
    const { enableAuthenticationRefresh, onAuthenticationRefresh } = this.#store.options;
    if (!enableAuthenticationRefresh || onAuthenticationRefresh === undefined) return true;
    const old = connection.principal;
    if (principal.user === undefined || old.token === principal.token) return true;
    const { id: connectionId } = connection;
    const refresh = { connectionId, user: old.user, newUser: principal.user, request };
    return (await onAuthenticationRefresh(refresh)) !== false;
  }

  #warnOfUpgrades(): void {
    if (this.#isWarnedOfUpgrades) return;
    this.#isWarnedOfUpgrades = true;
    log(
      this.#store.options.logger,
      "warn",
      "WebSockets are not offered: call handleUpgrades(server), or leave them out of transports",
      { path: this.#path },
    );
  }

  #answerError(exchange: Exchange, error: unknown): void {
    if (!(error instanceof Refusal)) {
      log(this.#store.options.logger, "error", "a request could not be answered", {
        error,
        path: exchange.path,
      });
    }
    if (isGone(exchange) || exchange.response.headersSent) return;
    const { status, body, headers } = error instanceof Refusal ? error : new Refusal(500);
    const bytes = Buffer.from(body, "utf8");
    const length = status === 204 ? {} : { "Content-Length": bytes.length };
    try {
      exchange.respond(status, { ...headers, ...length, ...this.#hangUp(exchange) }, bytes);
    } catch (failure) {
      log(this.#store.options.logger, "error", "a refusal could not be sent", { error: failure });
    }
  }

  /** Who sends a body that nobody wants must not go on for ever. */
  #hangUp({ request, response }: Exchange): ResponseHeaders {
    if (request.complete || request.method === "GET") return {};
    if (request.httpVersionMajor < 2) return { Connection: "close" };
    // RFC 9113 §8.1: a whole answer may be followed by a reset without error.
    const { stream } = response as unknown as Http2ServerResponse;
    stream.once("finish", () => setImmediate(() => stream.close()));
    return {};
  }

  // --- shutdown ---

  /** Ends what a server carries. @returns Resolves when all of it is over, or time is. */
  async #shutDown(server: object): Promise<void> {
    const connections = [...this.#store].filter((each) => each.server === server);
    if (connections.length === 0) return;
    const ended = connections.map((each) => each.whenEnded().then(() => each.done));
    for (const connection of connections) connection.retire("shutdown");
    let timer: NodeJS.Timeout | undefined;
    const timeIsOver = new Promise<void>((resolve) => {
      timer = setTimeout(() => {
        for (const connection of connections) connection.abort();
        resolve();
      }, shutdownTime);
      timer.unref();
    });
    await Promise.race([Promise.all(ended), timeIsOver]);
    clearTimeout(timer);
  }
}

/** How long authentication is good, in seconds; `undefined` if for ever. */
function lifetimeOf({ expiresAt }: Principal): number | undefined {
  if (!Number.isFinite(expiresAt)) return undefined;
  return Math.max(0, Math.floor((expiresAt - Date.now()) / 1000));
}

const challenge: ResponseHeaders = { "WWW-Authenticate": "Bearer" };
const largestMessage = constants.MAX_STRING_LENGTH;

function notAllowed(allowed: string): Refusal {
  return new Refusal(405, "", { ...plain, Allow: allowed });
}

function noConnection(): Refusal {
  return new Refusal(404, "No Connection with that ID");
}

function notSupported(name: TransportName): Refusal {
  return new Refusal(404, `${name} transport not supported by this end point type`);
}

function unavailable(text: string): Refusal {
  return new Refusal(503, text);
}

function refreshError(status: number, code: string, headers: ResponseHeaders = {}): Refusal {
  const type = { "Content-Type": "application/json" };
  return new Refusal(status, JSON.stringify({ error: code }), { ...type, ...headers });
}

/** Whether an Accept header has `text/event-stream` among its values. */
function acceptsEvents(accept: string | undefined): boolean {
  if (accept === undefined) return false;
  return accept
    .split(",")
    .some((range) => (range.split(";")[0] as string).trim().toLowerCase() === "text/event-stream");
}
