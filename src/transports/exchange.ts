import type { IncomingMessage, ServerResponse } from "node:http";
import type { WebSocketManager } from "../engine/web-socket-manager.js";
import type { ConnectionRequest } from "../hub/transport.js";

export type ResponseHeaders = Readonly<Record<string, string | number>>;

/** A request and the ways to answer it, whatever the framework calls them. */
export interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** The framework's own request or context, as the application's functions know it. */
  readonly raw: unknown;
  /** Without the query. */
  readonly path: string;
  /** As the framework knows it, which may trust a proxy's word. */
  readonly remoteAddress: string | undefined;
  /** What authentication in front has left. */
  readonly user: unknown;
  /** What `webSockets()` in front has made, which has judged the origin then. */
  readonly webSockets: WebSocketManager | undefined;
  /** What a body parser in front has made of a body that cannot be read any more. */
  body(): unknown;
  /** Whether the answer has this header so far. @param name - In lower case. */
  hasHeader(name: string): boolean;
  /** Answers by the framework's own means, once the pipeline goes on. */
  respond(status: number, headers: ResponseHeaders, body?: Uint8Array): void;
  /** The framework must not answer any more; what middleware has set is on `response` then. */
  takeOver(): void;
}

/** What a transport's request says of its client, put together when somebody asks. */
export class TransportRequest implements ConnectionRequest {
  readonly headers: ConnectionRequest["headers"];
  readonly path: string;
  readonly remoteAddress: string | undefined;
  readonly raw: unknown;
  readonly #url: string;
  #query: URLSearchParams | undefined;

  constructor(exchange: Exchange) {
    const { request } = exchange;
    this.headers = request.headers;
    this.path = exchange.path;
    this.remoteAddress = remoteAddressOf(exchange);
    this.raw = exchange.raw;
    this.#url = request.url ?? "";
  }

  get query(): URLSearchParams {
    if (this.#query === undefined) {
      this.#query = queryOf(this.#url);
      for (const name of [...this.#query.keys()]) {
        if (transportParameters.has(name.toLowerCase())) this.#query.delete(name);
      }
    }
    return this.#query;
  }
}

/** The socket of a request over HTTP/2 throws when it is asked after its end. */
function remoteAddressOf(exchange: Exchange): string | undefined {
  try {
    return exchange.remoteAddress;
  } catch {
    return undefined;
  }
}

/** The token of the connection, that of the user, and what keeps caches from answering polls. */
const transportParameters = new Set(["id", "access_token", "_"]);

/** The query of a request's target. */
export function queryOf(url: string): URLSearchParams {
  const at = url.indexOf("?");
  return new URLSearchParams(at < 0 ? "" : url.slice(at + 1));
}

/** The path of a request's target, which may be a whole address. */
export function pathOf(url: string): string {
  const path = url.startsWith("/") ? url : url.replace(/^[a-z][a-z0-9+.-]*:\/\/[^/?#]*/i, "");
  const end = path.search(/[?#]/);
  return end < 0 ? path : path.slice(0, end);
}

/** A parameter whose name is compared without regard to case, as ASP.NET does. */
export function parameter(query: URLSearchParams, name: string): string | undefined {
  const exact = query.getAll(name);
  if (exact.length === 1) return exact[0];
  const lower = name.toLowerCase();
  const values = [...query].filter(([each]) => each.toLowerCase() === lower);
  return values.length === 0 ? undefined : values.map(([, value]) => value).join(",");
}

/** Whether nobody waits for the answer any more. */
export function isGone({ response }: Exchange): boolean {
  const { stream } = response as { stream?: { destroyed: boolean } };
  return response.closed || response.destroyed || stream?.destroyed === true;
}
