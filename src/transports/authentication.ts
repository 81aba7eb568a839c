import type { ConnectionRequest } from "../hub/transport.js";
import { log } from "../logger.js";
import { type Exchange, pathOf, queryOf } from "./exchange.js";
import type { Principal } from "./http-connection.js";
import type { ResolvedConnectionOptions } from "./options.js";

/** What {@link accessToken} looks at: a request of node:http, or one of a framework that is alike. */
export interface TokenRequest {
  readonly headers: { readonly authorization?: string | undefined };
  readonly url?: string | undefined;
}

/** Paths that hubs and connections are mapped at in this process. */
const mappedPaths = new Set<string>();

/** What clients add to the path of a hub. */
export const subPaths = ["", "/", "/negotiate", "/refresh"] as const;

/** Lets {@link accessToken} read the query of requests to `path`. */
export function noteMappedPath(path: string): void {
  for (const subPath of subPaths) mappedPaths.add(path + subPath);
}

/**
 * The access token of a request, for authentication in front of a hub: that of `Authorization:
 * Bearer`, else on mapped paths, and on no others, `access_token` in the query, where browsers have
 * to put it for WebSockets and event streams.
 *
 * @param paths - The mapped paths as `request.url` has them, where a router has taken a part away.
 *   Default: all that were given to `mapHub` and `mapConnection`.
 * @example app.use(jwt({ secret, getToken: (ctx) => accessToken(ctx.req) ?? null }))
 */
export function accessToken(
  request: TokenRequest,
  paths?: string | readonly string[],
): string | undefined {
  const token = bearerToken(request.headers.authorization);
  if (token !== undefined || request.url === undefined) return token;
  const path = pathOf(request.url);
  const isMapped =
    paths === undefined
      ? mappedPaths.has(path)
      : [paths].flat().some((each) => subPaths.some((subPath) => path === each + subPath));
  return isMapped ? queryToken(request.url) : undefined;
}

function bearerToken(header: string | undefined): string | undefined {
  // RFC 6750 §2.1; the scheme's case does not matter (RFC 9110 §11.1).
  return /^bearer +([^\s,]+) *$/i.exec(header ?? "")?.[1];
}

function queryToken(url: string): string | undefined {
  return queryOf(url).get("access_token") || undefined;
}

const anonymous: Principal = {
  user: undefined,
  userId: undefined,
  expiresAt: Number.POSITIVE_INFINITY,
  token: undefined,
};

/** Finds out who sends a request, and whether they may. */
export class Authentication {
  readonly #options: ResolvedConnectionOptions;

  constructor(options: ResolvedConnectionOptions) {
    this.#options = options;
  }

  /** Who sends a request; 401 when its token is not good. Throws what the application throws. */
  async identify(exchange: Exchange, request: ConnectionRequest): Promise<Principal | 401> {
    const { authenticate, user: userOf } = this.#options;
    let token: string | undefined;
    let user: unknown;
    if (authenticate !== undefined) {
      const { headers, url = "" } = exchange.request;
      token = bearerToken(headers.authorization) ?? queryToken(url);
      if (token !== undefined) {
        user = await this.#check(authenticate, token, request);
        if (user === undefined || user === null) return 401;
      }
    }
    user ??= userOf === undefined ? exchange.user : userOf(exchange.raw);
    if (user === undefined || user === null) return anonymous;
    const expiresAt = this.#options.expiresAt(user);
    return {
      user,
      userId: this.#options.userId(user),
      expiresAt: expiresAt === undefined ? Number.POSITIVE_INFINITY : Number(expiresAt),
      token,
    };
  }

  /** Whether a user may use the path. Throws what the application throws. */
  async authorize({ user }: Principal, request: ConnectionRequest): Promise<200 | 401 | 403> {
    const { authorize } = this.#options;
    if (authorize === undefined || authorize === false) return 200;
    if (user === undefined || user === null) return 401;
    if (authorize === true || (await authorize(user, request)) === true) return 200;
    return 403;
  }

  async #check(
    authenticate: NonNullable<ResolvedConnectionOptions["authenticate"]>,
    token: string,
    request: ConnectionRequest,
  ): Promise<unknown> {
    try {
      return await authenticate(token, request);
    } catch (error) {
      // Its text may quote the token.
      const { name, code } = (error ?? {}) as { name?: unknown; code?: unknown };
      log(this.#options.logger, "info", "an access token was refused", { name, code });
      return undefined;
    }
  }
}

/**
 * Whether a request of `next` may use what belongs to `current`. One without user may, as far as
 * `authorize` lets it: it has the connection's token.
 */
export function isSameUser(current: Principal, next: Principal): boolean {
  if (current.user == null || next.user == null) return true;
  return current.userId === next.userId;
}
