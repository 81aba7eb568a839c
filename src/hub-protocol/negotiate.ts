import type { TransferFormat } from "./hub-protocol.js";

/** The newest version of negotiate: since 1 the token in URLs is another than the public id. */
export const maxNegotiateVersion = 1;

/** A transport as negotiate offers it. */
export interface AvailableTransport {
  readonly transport: string;
  readonly transferFormats: readonly TransferFormat[];
}

/** The transports in the order of preference. A server leaves out what it does not have. */
export const allTransports: readonly AvailableTransport[] = [
  { transport: "WebSockets", transferFormats: ["Text", "Binary"] },
  { transport: "ServerSentEvents", transferFormats: ["Text"] },
  { transport: "LongPolling", transferFormats: ["Text", "Binary"] },
];

/** What a server says of the connection it has made. */
export interface NegotiatedConnection {
  /** 0 or 1; what {@link chooseNegotiateVersion} returned. */
  readonly version: number;
  /** Public. */
  readonly connectionId: string;
  /** Secret; in version 0 it is not sent, and the id stands for it. */
  readonly connectionToken: string;
  readonly availableTransports: readonly AvailableTransport[];
  /** Default false. */
  readonly useStatefulReconnect?: boolean | undefined;
  /** How long the client's authentication is good, when it may be refreshed (.NET 11). */
  readonly tokenLifetimeSeconds?: number | undefined;
}

/** Sends the client elsewhere, to negotiate there. */
export interface NegotiateRedirect {
  /** Absolute. */
  readonly url: string;
  /** The client's bearer token from then on. */
  readonly accessToken?: string | undefined;
}

/**
 * The version to answer with.
 *
 * @param requested - The query's `negotiateVersion`; `null` or `undefined` when there is none.
 * @param minimum - Lowest version that the server accepts.
 * @returns The version, or the body that refuses, which goes out with status 200 all the same.
 */
export function chooseNegotiateVersion(
  requested: string | null | undefined,
  minimum = 0,
): number | string {
  const text = requested ?? "0";
  const version = Number(text);
  if (!/^\s*[+-]?\d+\s*$/.test(text) || version >= 2 ** 31 || version < -(2 ** 31)) {
    return encodeNegotiateError("The client requested a non-integer protocol version.");
  }
  if (version < minimum) {
    return encodeNegotiateError(
      `The client requested version '${version}', but the server does not support this version.`,
    );
  }
  return Math.min(version, maxNegotiateVersion);
}

/** The body for a connection that was made. JSON, its properties in ASP.NET Core's order. */
export function encodeNegotiateResponse(connection: NegotiatedConnection): string {
  const { version, connectionId, connectionToken, tokenLifetimeSeconds } = connection;
  return JSON.stringify({
    // JSON.stringify leaves out what is undefined.
    useStatefulReconnect: connection.useStatefulReconnect || undefined,
    negotiateVersion: version,
    connectionId,
    connectionToken: version > 0 ? connectionToken : undefined,
    tokenLifetimeSeconds,
    availableTransports: connection.availableTransports,
  });
}

/** The body that sends a client elsewhere. */
export function encodeNegotiateRedirect(redirect: NegotiateRedirect, version = 0): string {
  const { url, accessToken } = redirect;
  return JSON.stringify({ negotiateVersion: version, url, accessToken, availableTransports: [] });
}

/** The body that refuses, which goes out with status 200 all the same. */
export function encodeNegotiateError(error: string): string {
  return JSON.stringify({ error });
}
