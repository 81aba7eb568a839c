import { constants, type Http2Stream } from "node:http2";

const resetHere = new WeakSet<Http2Stream>();

/**
 * Makes `destroy()` tell the peer: RST_STREAM with CANCEL, where node:http2 says NO_ERROR, which
 * looks like an end in order.
 *
 * @see RFC 8441 §5: RST_STREAM with CANCEL stands for a TCP connection that was reset
 */
export function endsByCancel(stream: Http2Stream): void {
  const { destroy } = stream;
  stream.destroy = (error) => {
    if (error === undefined && !stream.closed && !stream.destroyed) {
      resetHere.add(stream);
      stream.close(constants.NGHTTP2_CANCEL);
    }
    return destroy.call(stream, error);
  };
}

/** Whether this side has reset a stream that {@link endsByCancel} was called for. */
export function wasResetHere(stream: Http2Stream): boolean {
  return resetHere.has(stream);
}
