import { once } from "node:events";
import type { ClientHttp2Session, IncomingHttpHeaders } from "node:http2";
import type { Socket } from "node:net";
import type { DeflateWish } from "./peer.js";
import { agree } from "./raw-client.js";
import { RawConnection } from "./raw-connection.js";

/**
 * Opens a WebSocket on a stream of `session`, whose server has said that it takes them.
 *
 * @throws Error for an answer other than 200.
 * @see RFC 8441 §4, §5
 */
export async function connectRawHttp2(
  session: ClientHttp2Session,
  deflate?: DeflateWish,
): Promise<RawConnection> {
  const stream = session.request(
    {
      ":method": "CONNECT",
      ":protocol": "websocket",
      ":scheme": "http",
      ":authority": "127.0.0.1",
      ":path": "/",
      "sec-websocket-version": "13",
      ...(deflate && { "sec-websocket-extensions": deflate.offer }),
    },
    { endStream: false },
  );
  stream.on("error", () => {});
  const [headers] = (await once(stream, "response")) as [IncomingHttpHeaders];
  const status = headers[":status" as keyof IncomingHttpHeaders];
  if (Number(status) !== 200) throw new Error(`The stream was answered with ${status}.`);
  const extensions = headers["sec-websocket-extensions"] as string | undefined;
  // Of a socket the connection uses what every duplex stream has.
  return new RawConnection(
    stream as unknown as Socket,
    "client",
    Buffer.alloc(0),
    agree(extensions, deflate),
  );
}
