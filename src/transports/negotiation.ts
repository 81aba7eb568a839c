import type { TransportName } from "../hub/transport.js";
import type { TransferFormat } from "../hub-protocol/hub-protocol.js";
import type { NegotiateRedirect, ResolvedConnectionOptions } from "./options.js";

/** The highest version of negotiate that there is. */
const highestVersion = 1;
const largestInteger = 2 ** 31;

const transferFormats: Record<TransportName, readonly TransferFormat[]> = {
  WebSockets: ["Text", "Binary"],
  ServerSentEvents: ["Text"],
  LongPolling: ["Text", "Binary"],
};

export interface RequestedVersion {
  readonly version: 0 | 1;
}

/** The version a client asks for, or the answer that there is none for it. */
export function readVersion(
  requested: string | undefined,
  { minimumProtocolVersion }: Pick<ResolvedConnectionOptions, "minimumProtocolVersion">,
): RequestedVersion | { readonly error: string } {
  const text = requested === undefined ? "0" : requested.trim();
  const version = /^[+-]?\d{1,11}$/.test(text) ? Number(text) : Number.NaN;
  if (!(version >= -largestInteger && version < largestInteger)) {
    return { error: "The client requested a non-integer protocol version." };
  }
  if (version < minimumProtocolVersion) {
    return {
      error: `The client requested version '${version}', but the server does not support this version.`,
    };
  }
  return { version: version >= highestVersion ? 1 : 0 };
}

/** What negotiate is answered with, in the order in which ASP.NET Core writes it. */
export function negotiation(
  answer:
    | { readonly version: 0 | 1; readonly redirect: NegotiateRedirect }
    | {
        readonly version: 0 | 1;
        readonly connection: {
          readonly id: string;
          readonly token: string;
          readonly allowsReconnect: boolean;
        };
        readonly transports: readonly TransportName[];
        readonly tokenLifetimeSeconds: number | undefined;
      },
): object {
  const { version } = answer;
  if ("redirect" in answer) {
    const { url, accessToken } = answer.redirect;
    return { negotiateVersion: version, url, accessToken, availableTransports: [] };
  }
  const { connection, tokenLifetimeSeconds } = answer;
  return {
    useStatefulReconnect: connection.allowsReconnect || undefined,
    negotiateVersion: version,
    connectionId: connection.id,
    connectionToken: version > 0 ? connection.token : undefined,
    tokenLifetimeSeconds,
    availableTransports: answer.transports.map((transport) => ({
      transport,
      transferFormats: transferFormats[transport],
    })),
  };
}
